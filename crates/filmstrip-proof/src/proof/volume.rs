//! A model of a filesystem under power cuts: what was written, and what was synced.
//!
//! * A written sector is durable after a sync of its file, a directory's entry after a sync of the directory, and a
//!   file's length after a sync of the file. Before that each of them may be on disk or not, independently of the
//!   others, and of several writes to a sector any one may be on disk.
//! * A sector is never half written, and a rename is atomic.
//! * That is weaker than what ext4, xfs or btrfs guarantee, and as much as POSIX guarantees.

use crate::value::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SECTOR: usize = 512;

type Sector = Arc<[u8; SECTOR]>;

/// A file or a directory, by its number.
pub(crate) type Node = usize;

/// The root directory, which always exists and is durable.
pub(crate) const ROOT: Node = 0;

/// One step of a writer.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    CreateFile { directory: Node, name: String },
    CreateDirectory { directory: Node, name: String },
    Write { file: Node, offset: u64, bytes: Arc<[u8]> },
    SetLength { file: Node, length: u64 },
    Sync { node: Node },
    Rename { directory: Node, from: String, to: String },
    Link { node: Node, directory: Node, name: String },
    Remove { directory: Node, name: String },
}

/// Which unsynced steps survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Synced,
    /// All of them, as if everything had just been synced.
    All,
    /// Each with this probability, in per cent.
    Some(u64),
}

/// All files and directories.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    nodes: Vec<Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    File(File),
    Directory(Directory),
}

#[derive(Debug, Clone, Default)]
struct File {
    now: Content,
    durable: Content,
    /// Sector writes since the last sync, in order; `None` writes zeros.
    pending: Vec<(u64, Option<Sector>)>,
}

/// A file's bytes; a sector that is not listed is zeros.
#[derive(Debug, Clone, Default)]
struct Content {
    length: u64,
    sectors: BTreeMap<u64, Sector>,
}

#[derive(Debug, Clone, Default)]
struct Directory {
    now: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<NameOp>,
}

#[derive(Debug, Clone)]
enum NameOp {
    Set(String, Node),
    Remove(String),
    Rename(String, String, Node),
}

impl Volume {
    /// An empty root.
    pub(crate) fn new() -> Volume {
        Volume { nodes: vec![Entry::Directory(Directory::default())] }
    }

    /// Does one step. Returns the node that it created, if any.
    pub(crate) fn apply(&mut self, op: &Op) -> Option<Node> {
        match op {
            Op::CreateFile { directory, name } => {
                return Some(self.create(*directory, name, Entry::File(File::default())));
            }
            Op::CreateDirectory { directory, name } => {
                let entry = Entry::Directory(Directory::default());
                return Some(self.create(*directory, name, entry));
            }
            Op::Write { file, offset, bytes } => self.file_mut(*file).write(*offset, bytes),
            Op::SetLength { file, length } => self.file_mut(*file).set_length(*length),
            Op::Sync { node } => match &mut self.nodes[*node] {
                Entry::File(file) => file.sync(),
                Entry::Directory(directory) => directory.sync(),
            },
            Op::Rename { directory, from, to } => {
                let directory = self.directory_mut(*directory);
                let node = directory.now.remove(from).expect("what is renamed is there");
                directory.now.insert(to.clone(), node);
                directory.pending.push(NameOp::Rename(from.clone(), to.clone(), node));
            }
            Op::Link { node, directory, name } => self.name(*directory, name, *node),
            Op::Remove { directory, name } => {
                let directory = self.directory_mut(*directory);
                directory.now.remove(name);
                directory.pending.push(NameOp::Remove(name.clone()));
            }
        }
        None
    }

    fn create(&mut self, directory: Node, name: &str, entry: Entry) -> Node {
        let node = self.nodes.len();
        self.nodes.push(entry);
        self.name(directory, name, node);
        node
    }

    fn name(&mut self, directory: Node, name: &str, node: Node) {
        let directory = self.directory_mut(directory);
        directory.now.insert(name.to_owned(), node);
        directory.pending.push(NameOp::Set(name.to_owned(), node));
    }

    /// The volume that a power cut leaves now, all of it durable.
    pub(crate) fn cut(&self, left: Left, random: &mut Random) -> Volume {
        let nodes = self.nodes.iter().map(|entry| match entry {
            Entry::File(file) => Entry::File(file.cut(left, random)),
            Entry::Directory(directory) => Entry::Directory(directory.cut(left, random)),
        });
        Volume { nodes: nodes.collect() }
    }

    /// The node of `name` as the running system sees it.
    pub(crate) fn look_up(&self, directory: Node, name: &str) -> Option<Node> {
        match &self.nodes[directory] {
            Entry::Directory(directory) => directory.now.get(name).copied(),
            Entry::File(_) => None,
        }
    }

    /// The names in a directory, with their nodes.
    pub(crate) fn names(&self, directory: Node) -> &BTreeMap<String, Node> {
        match &self.nodes[directory] {
            Entry::Directory(directory) => &directory.now,
            Entry::File(_) => panic!("a file has no names in it"),
        }
    }

    pub(crate) fn is_directory(&self, node: Node) -> bool {
        matches!(self.nodes[node], Entry::Directory(_))
    }

    pub(crate) fn length(&self, file: Node) -> u64 {
        self.file(file).now.length
    }

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    pub(crate) fn read(&self, file: Node, buffer: &mut [u8], offset: u64) -> usize {
        let content = &self.file(file).now;
        let readable = content.length.saturating_sub(offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..readable as usize];
        buffer.fill(0);
        let end = offset + readable;
        let sectors = offset / SECTOR as u64..end.div_ceil(SECTOR as u64);
        for (number, sector) in content.sectors.range(sectors) {
            let start = number * SECTOR as u64;
            let (from, to) = (start.max(offset), (start + SECTOR as u64).min(end));
            let part = &sector[(from - start) as usize..(to - start) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
        }
        buffer.len()
    }

    fn file(&self, node: Node) -> &File {
        match &self.nodes[node] {
            Entry::File(file) => file,
            Entry::Directory(_) => panic!("a directory has no bytes"),
        }
    }

    fn file_mut(&mut self, node: Node) -> &mut File {
        match &mut self.nodes[node] {
            Entry::File(file) => file,
            Entry::Directory(_) => panic!("a directory has no bytes"),
        }
    }

    fn directory_mut(&mut self, node: Node) -> &mut Directory {
        match &mut self.nodes[node] {
            Entry::Directory(directory) => directory,
            Entry::File(_) => panic!("a file has no names in it"),
        }
    }
}

impl File {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, inside) = (at / SECTOR as u64, (at % SECTOR as u64) as usize);
            let (part, behind) = rest.split_at(rest.len().min(SECTOR - inside));
            let mut sector = self.now.sectors.get(&number).map_or([0; SECTOR], |sector| **sector);
            sector[inside..inside + part.len()].copy_from_slice(part);
            let sector = (sector != [0; SECTOR]).then(|| Arc::new(sector));
            // Writing zeros over a sector that has always been zeros changes nothing.
            if sector.is_some() || self.now.sectors.contains_key(&number) || self.was_ever(number) {
                self.pending.push((number, sector.clone()));
            }
            self.now.put(number, sector);
            at += part.len() as u64;
            rest = behind;
        }
        self.now.length = self.now.length.max(at);
    }

    fn was_ever(&self, number: u64) -> bool {
        self.durable.sectors.contains_key(&number)
            || self.pending.iter().any(|(pending, _)| *pending == number)
    }

    fn set_length(&mut self, length: u64) {
        if length < self.now.length {
            let zeros = vec![0; (self.now.length - length) as usize];
            self.write(length, &zeros);
        }
        self.now.length = length;
    }

    fn sync(&mut self) {
        self.durable.length = self.now.length;
        for (number, sector) in self.pending.drain(..) {
            self.durable.put(number, sector);
        }
    }

    fn cut(&self, left: Left, random: &mut Random) -> File {
        let mut content = self.durable.clone();
        for (number, sector) in &self.pending {
            if keeps(left, random) {
                content.put(*number, sector.clone());
            }
        }
        if self.now.length != content.length && keeps(left, random) {
            content.length = self.now.length;
        }
        let sectors = content.length.div_ceil(SECTOR as u64);
        content.sectors.split_off(&sectors);
        File { now: content.clone(), durable: content, pending: Vec::new() }
    }
}

impl Content {
    fn put(&mut self, number: u64, sector: Option<Sector>) {
        match sector {
            Some(sector) => drop(self.sectors.insert(number, sector)),
            None => drop(self.sectors.remove(&number)),
        }
    }
}

impl Directory {
    fn sync(&mut self) {
        self.durable = self.now.clone();
        self.pending.clear();
    }

    fn cut(&self, left: Left, random: &mut Random) -> Directory {
        let mut names = self.durable.clone();
        for op in &self.pending {
            if !keeps(left, random) {
                continue;
            }
            match op {
                NameOp::Set(name, node) => drop(names.insert(name.clone(), *node)),
                NameOp::Remove(name) => drop(names.remove(name)),
                NameOp::Rename(from, to, node) => {
                    names.remove(from);
                    names.insert(to.clone(), *node);
                }
            }
        }
        Directory { now: names.clone(), durable: names, pending: Vec::new() }
    }
}

fn keeps(left: Left, random: &mut Random) -> bool {
    match left {
        Left::Synced => false,
        Left::All => true,
        Left::Some(percent) => random.percent(percent),
    }
}
