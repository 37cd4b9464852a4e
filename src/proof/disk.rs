//! A `Disk` in memory that records every step, so that the power can be cut between any two of them.

use crate::proof::volume::{Node, Op, ROOT, Volume};
use crate::storage::disk::{Disk, DiskFile};
use parking_lot::{Mutex, RwLock};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What happened, in order: steps of the disk, and what the world came to know in between.
#[derive(Debug, Clone)]
pub(crate) enum Step<N> {
    Op(Op),
    Note(N),
}

/// A volume that records. Its paths lie below `root`, which also exists as a real directory, for
/// what does not go through the journal's interface: the lock and the index.
pub(crate) struct SimulatedDisk<N>(Arc<Shared<N>>);

/// Looks on at a moment between two steps.
pub(crate) type Onlooker = Box<dyn Fn() + Send + Sync>;

struct Shared<N> {
    root: PathBuf,
    state: Mutex<State<N>>,
    /// Looks on before each step, as another thread might at that moment.
    onlooker: RwLock<Option<Onlooker>>,
}

struct State<N> {
    volume: Volume,
    trace: Vec<Step<N>>,
}

impl<N> Clone for SimulatedDisk<N> {
    fn clone(&self) -> SimulatedDisk<N> {
        SimulatedDisk(Arc::clone(&self.0))
    }
}

impl<N: Clone + Send + 'static> SimulatedDisk<N> {
    /// A disk that goes on with `volume`.
    pub(crate) fn new(root: &Path, volume: Volume) -> SimulatedDisk<N> {
        SimulatedDisk(Arc::new(Shared {
            root: root.to_owned(),
            state: Mutex::new(State { volume, trace: Vec::new() }),
            onlooker: RwLock::new(None),
        }))
    }

    /// Puts a note between what was done and what will be.
    pub(crate) fn note(&self, note: N) {
        self.0.state.lock().trace.push(Step::Note(note));
    }

    pub(crate) fn trace(&self) -> Vec<Step<N>> {
        self.0.state.lock().trace.clone()
    }

    /// Everything as the running system sees it.
    pub(crate) fn volume(&self) -> Volume {
        self.0.state.lock().volume.clone()
    }

    /// Lets `onlooker` look on from now on. The one before it has come to its end when this returns.
    pub(crate) fn set_onlooker(&self, onlooker: Option<Onlooker>) {
        *self.0.onlooker.write() = onlooker;
    }
}

impl<N: Clone + Send + 'static> Shared<N> {
    fn apply(&self, op: Op) -> io::Result<Option<Node>> {
        if let Some(onlooker) = &*self.onlooker.read() {
            onlooker();
        }
        let mut state = self.state.lock();
        let made = state.volume.apply(&op);
        state.trace.push(Step::Op(op));
        Ok(made)
    }

    /// The directory that `path` lies in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(Node, String)> {
        let directory = self.find(path.parent().ok_or(ErrorKind::NotFound)?)?;
        let name = path.file_name().ok_or(ErrorKind::NotFound)?;
        Ok((directory, name.to_string_lossy().into_owned()))
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        let below = path.strip_prefix(&self.root).map_err(|_| ErrorKind::NotFound)?;
        let state = self.state.lock();
        let mut node = ROOT;
        for name in below.iter() {
            let found = state.volume.look_up(node, &name.to_string_lossy());
            node = found.ok_or(ErrorKind::NotFound)?;
        }
        Ok(node)
    }
}

struct SimulatedFile<N> {
    disk: Arc<Shared<N>>,
    node: Node,
}

impl<N: Clone + Send + 'static> DiskFile for SimulatedFile<N> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.disk.state.lock().volume.read(self.node, buffer, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.apply(Op::Write { file: self.node, offset, bytes: bytes.into() }).map(drop)
    }

    /// One operation: a crash amid the zeros of a file that is not in use yet shows little, so that few of the cuts
    /// may fall there.
    fn write_zeros_at(&self, bytes: usize, offset: u64, _: usize) -> io::Result<()> {
        self.write_all_at(&vec![0; bytes], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.apply(Op::Sync { node: self.node }).map(drop)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().volume.length(self.node))
    }
}

impl<N: Clone + Send + 'static> Disk for SimulatedDisk<N> {
    fn create_new(&self, path: &Path, _: u32) -> io::Result<Arc<dyn DiskFile>> {
        let (directory, name) = self.0.place(path)?;
        if self.0.state.lock().volume.look_up(directory, &name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = self.0.apply(Op::CreateFile { directory, name })?.expect("a file was made");
        Ok(Arc::new(SimulatedFile { disk: Arc::clone(&self.0), node }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let node = self.0.find(path)?;
        Ok(Arc::new(SimulatedFile { disk: Arc::clone(&self.0), node }))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (directory, from) = self.0.place(from)?;
        let (to_directory, to) = self.0.place(to)?;
        assert_eq!(directory, to_directory, "nothing moves from one directory to another");
        self.0.apply(Op::Rename { directory, from, to }).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.find(path)?;
        let (directory, name) = self.0.place(path)?;
        self.0.apply(Op::Remove { directory, name }).map(drop)
    }

    fn create_dir_all(&self, path: &Path, _: u32) -> io::Result<()> {
        std::fs::create_dir_all(path)?;
        let below = path.strip_prefix(&self.0.root).map_err(|_| ErrorKind::NotFound)?;
        let mut at = self.0.root.clone();
        for name in below.iter() {
            let directory = self.0.find(&at)?;
            at.push(name);
            if self.0.find(&at).is_err() {
                let name = name.to_string_lossy().into_owned();
                self.0.apply(Op::CreateDirectory { directory, name })?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // What lies above the root is somebody else's, and durable.
        match self.0.find(path) {
            Err(_) if self.0.root.starts_with(path) => Ok(()),
            found => self.0.apply(Op::Sync { node: found? }).map(drop),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let Ok(node) = self.0.find(path) else { return Ok(Vec::new()) };
        Ok(self.0.state.lock().volume.names(node).keys().cloned().collect())
    }
}
