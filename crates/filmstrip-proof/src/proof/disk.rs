//! A `Disk` in memory that records every step, so that the power can be cut between any two of them.

use crate::proof::volume::{Node, Op, ROOT, Volume};
use crate::storage::disk::{Disk, DiskFile, Kind, RealDisk};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One entry of a recording: a step of the disk, or a note between steps.
#[derive(Debug, Clone)]
pub(crate) enum Step<N> {
    Op(Op),
    Note(N),
}

/// A recording volume. Its paths are below `root`, which also exists as a real directory: locks and sled's files are
/// real. The volume has sled's files as they were at each sync.
pub(crate) struct SimulatedDisk<N>(Arc<Shared<N>>);

/// Called between two steps.
pub(crate) type Onlooker = Box<dyn Fn() + Send + Sync>;

struct Shared<N> {
    root: PathBuf,
    state: Mutex<State<N>>,
    /// Called before each step, like a thread that reads at that moment.
    onlooker: RwLock<Option<Onlooker>>,
}

struct State<N> {
    volume: Volume,
    trace: Vec<Step<N>>,
    /// The sync of a file that fails, counted from 1; 0 for none.
    sync_to_fail: u64,
}

impl<N> Clone for SimulatedDisk<N> {
    fn clone(&self) -> SimulatedDisk<N> {
        SimulatedDisk(Arc::clone(&self.0))
    }
}

impl<N: Clone + Send + 'static> SimulatedDisk<N> {
    /// A disk with the content of `volume`.
    pub(crate) fn new(root: &Path, volume: Volume) -> SimulatedDisk<N> {
        SimulatedDisk(Arc::new(Shared {
            root: root.to_owned(),
            state: Mutex::new(State { volume, trace: Vec::new(), sync_to_fail: 0 }),
            onlooker: RwLock::new(None),
        }))
    }

    /// Creates the volume's directories and sled's files below the real root.
    pub(crate) fn materialize(&self) {
        let state = self.0.state.lock();
        let mut directories = vec![(ROOT, self.0.root.clone())];
        while let Some((directory, path)) = directories.pop() {
            for (name, node) in state.volume.names(directory) {
                let path = path.join(name);
                if state.volume.is_directory(*node) {
                    RealDisk.create_dir_all(&path, 0o700).expect("a directory can be made");
                    directories.push((*node, path));
                } else if ["conf", "db"].contains(&name.as_str()) {
                    let mut bytes = vec![0; state.volume.length(*node) as usize];
                    state.volume.read(*node, &mut bytes, 0);
                    std::fs::write(path, bytes).expect("a file can be written");
                }
            }
        }
    }

    /// Adds a note to the recording.
    pub(crate) fn note(&self, note: N) {
        self.0.state.lock().trace.push(Step::Note(note));
    }

    /// Makes the `n`-th sync of a file from now fail, counted from 1; 0 for none. Returns whether the one that was
    /// chosen before was reached.
    pub(crate) fn fail_sync(&self, n: u64) -> bool {
        std::mem::replace(&mut self.0.state.lock().sync_to_fail, n) == 0
    }

    pub(crate) fn trace(&self) -> Vec<Step<N>> {
        self.0.state.lock().trace.clone()
    }

    /// The volume as the running system sees it.
    pub(crate) fn volume(&self) -> Volume {
        self.0.state.lock().volume.clone()
    }

    /// Sets the onlooker. Returns after the last call of the previous one has ended.
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

    /// Fails if this sync was chosen to.
    fn count_sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let is_chosen = state.sync_to_fail == 1;
        state.sync_to_fail = state.sync_to_fail.saturating_sub(1);
        if is_chosen { Err(io::Error::other("injected")) } else { Ok(()) }
    }

    /// The directory of `path`, and the name in it.
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

    /// One operation: a crash in the middle of writing zeros to an unused file shows little, so few cuts should fall
    /// there.
    fn write_zeros_at(&self, bytes: usize, offset: u64, _: usize) -> io::Result<()> {
        self.write_all_at(&vec![0; bytes], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.count_sync()?;
        self.disk.apply(Op::Sync { node: self.node }).map(drop)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().volume.length(self.node))
    }
}

/// Bytes of sled's files that are compared at once.
const PAGE: usize = 4_096;

/// A file that sled writes.
struct ForeignFile<N> {
    simulated: SimulatedFile<N>,
    path: PathBuf,
}

impl<N: Clone + Send + 'static> ForeignFile<N> {
    /// The changed range of the real file, compared with the one in the volume: its offset and bytes.
    fn written(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut bytes = std::fs::read(&self.path)?;
        let mut known = vec![0; bytes.len()];
        let length = self.simulated.read_at(&mut known, 0)?;
        known.truncate(length);
        let pages = || bytes.chunks(PAGE).zip(known.chunks(PAGE).chain(std::iter::repeat(&[][..])));
        let Some(first) = pages().position(|(now, before)| now != before) else { return Ok(None) };
        let behind = pages().skip(first).enumerate().filter(|(_, (now, before))| now != before);
        let last = first + behind.last().map_or(0, |(n, _)| n);
        let (first, end) = (first * PAGE, bytes.len().min((last + 1) * PAGE));
        bytes.truncate(end);
        Ok(Some((first as u64, bytes.split_off(first))))
    }
}

impl<N: Clone + Send + 'static> DiskFile for ForeignFile<N> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.simulated.read_at(buffer, offset)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        let length = std::fs::metadata(&self.path)?.len();
        if length < self.simulated.length()? {
            self.simulated.disk.apply(Op::SetLength { file: self.simulated.node, length })?;
        }
        if let Some((offset, bytes)) = self.written()? {
            self.simulated.write_all_at(&bytes, offset)?;
        }
        self.simulated.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.simulated.length()
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
        match self.0.find(path) {
            // A lock file is real.
            Err(_) if path.is_file() => self.create_new(path, 0),
            _ => self.open(path),
        }
    }

    fn open_foreign(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let node = match self.0.find(path) {
            Ok(node) => node,
            Err(_) => {
                let (directory, name) = self.0.place(path)?;
                self.0.apply(Op::CreateFile { directory, name })?.expect("a file was made")
            }
        };
        let simulated = SimulatedFile { disk: Arc::clone(&self.0), node };
        Ok(Arc::new(ForeignFile { simulated, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let renamed = match from.symlink_metadata() {
            Ok(_) => RealDisk.rename(from, to),
            Err(error) => Err(error),
        };
        if self.0.find(from).is_err() {
            return renamed;
        }
        let (directory, from) = self.0.place(from)?;
        let (to_directory, to) = self.0.place(to)?;
        assert_eq!(directory, to_directory, "files are renamed only within a directory");
        self.0.apply(Op::Rename { directory, from, to }).map(drop)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        let (directory, name) = self.0.place(name)?;
        if self.0.state.lock().volume.look_up(directory, &name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.0.apply(Op::Link { node: self.0.find(file)?, directory, name }).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = RealDisk.remove(path);
        if self.0.find(path).is_err() {
            return removed;
        }
        let (directory, name) = self.0.place(path)?;
        self.0.apply(Op::Remove { directory, name }).map(drop)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (directory, name) = self.0.place(path)?;
        RealDisk.create_dir(path)?;
        self.0.apply(Op::CreateDirectory { directory, name }).map(drop)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)?;
        let (directory, name) = self.0.place(path)?;
        self.0.apply(Op::Remove { directory, name }).map(drop)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        RealDisk.create_dir_all(path, mode)?;
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
        // Directories above the root are outside of the volume, and durable.
        match self.0.find(path) {
            Err(_) if self.0.root.starts_with(path) => Ok(()),
            // sled has created it.
            Err(_) if path.is_dir() => {
                let (directory, name) = self.0.place(path)?;
                self.0.apply(Op::CreateDirectory { directory, name }).map(drop)
            }
            found => self.0.apply(Op::Sync { node: found? }).map(drop),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names: BTreeSet<String> = RealDisk.list(path)?.into_iter().collect();
        if let Ok(node) = self.0.find(path) {
            names.extend(self.0.state.lock().volume.names(node).keys().cloned());
        }
        Ok(names.into_iter().collect())
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        match self.0.find(path) {
            Ok(node) if self.0.state.lock().volume.is_directory(node) => Ok(Some(Kind::Directory)),
            Ok(_) => Ok(Some(Kind::File)),
            Err(_) => RealDisk.kind(path),
        }
    }

    fn kind_there(&self, path: &Path) -> io::Result<Option<Kind>> {
        match self.0.find(path) {
            Ok(_) => self.kind(path),
            Err(_) => RealDisk.kind_there(path),
        }
    }
}
