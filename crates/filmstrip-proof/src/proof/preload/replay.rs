//! Converts the recording of a process into the steps of a volume, and a volume into a directory.

use crate::proof::oracle::Known;
use crate::proof::volume::{Node, Op, ROOT, Volume};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// One entry of a recording.
pub(super) enum Step {
    Op(Op),
    /// The process has printed an event.
    Note(Known),
}

const HEAD_BYTES: usize = 17;

struct Replay<'a> {
    root: &'a Path,
    volume: Volume,
    steps: Vec<Step>,
    descriptors: HashMap<i32, Node>,
    renamed: Option<String>,
}

/// The steps in `trace`, the recording of a process whose files are below `root`.
pub(super) fn replay(trace: &[u8], root: &Path) -> Vec<Step> {
    let mut replay = Replay {
        root,
        volume: Volume::new(),
        steps: Vec::new(),
        descriptors: HashMap::new(),
        renamed: None,
    };
    let mut rest = trace;
    while !rest.is_empty() {
        let (head, behind) = rest.split_at(HEAD_BYTES);
        let descriptor = i32::from_le_bytes(head[1..5].try_into().unwrap());
        let number = u64::from_le_bytes(head[5..13].try_into().unwrap());
        let length = u32::from_le_bytes(head[13..].try_into().unwrap());
        let (bytes, behind) = behind.split_at(length as usize);
        replay.take(head[0], descriptor, number, bytes);
        rest = behind;
    }
    replay.steps
}

impl Replay<'_> {
    fn take(&mut self, kind: u8, descriptor: i32, number: u64, bytes: &[u8]) {
        let file = self.descriptors.get(&descriptor).copied();
        match kind {
            b'o' => self.open(descriptor, bytes, number == 1),
            b'c' => drop(self.descriptors.remove(&descriptor)),
            b'w' => {
                let file = file.expect("what is written to is open");
                self.apply(Op::Write { file, offset: number, bytes: bytes.into() });
            }
            b's' => {
                let node = file.expect("what is synced is open");
                self.apply(Op::Sync { node });
            }
            b't' => {
                let file = file.expect("what is cut is open");
                self.apply(Op::SetLength { file, length: number });
            }
            b'd' => {
                let (directory, name) = self.place(bytes);
                self.apply(Op::CreateDirectory { directory, name });
            }
            b'u' => {
                let (directory, name) = self.place(bytes);
                self.apply(Op::Remove { directory, name });
            }
            b'f' => self.renamed = Some(self.place(bytes).1),
            b'r' => {
                let from = self.renamed.take().expect("a rename begins with the old name");
                let (directory, to) = self.place(bytes);
                self.apply(Op::Rename { directory, from, to });
            }
            b'n' => self.steps.extend(said(bytes).map(Step::Note)),
            kind => panic!("there is no record of kind {kind}"),
        }
    }

    fn open(&mut self, descriptor: i32, path: &[u8], cut: bool) {
        if path == self.root.as_os_str().as_encoded_bytes() {
            self.descriptors.insert(descriptor, ROOT);
            return;
        }
        let (directory, name) = self.place(path);
        let node = match self.volume.look_up(directory, &name) {
            Some(node) => node,
            None => self.apply(Op::CreateFile { directory, name }).expect("a file was made"),
        };
        if cut && self.volume.length(node) > 0 {
            self.apply(Op::SetLength { file: node, length: 0 });
        }
        self.descriptors.insert(descriptor, node);
    }

    fn apply(&mut self, op: Op) -> Option<Node> {
        let made = self.volume.apply(&op);
        self.steps.push(Step::Op(op));
        made
    }

    /// The directory of `path`, and the name in it.
    fn place(&self, path: &[u8]) -> (Node, String) {
        let path = Path::new(std::str::from_utf8(path).unwrap());
        let below = path.strip_prefix(self.root).unwrap();
        let mut names: Vec<_> = below.iter().map(|name| name.to_str().unwrap()).collect();
        let name = names.pop().expect("the root is not made, renamed or removed");
        let directory = names.iter().fold(ROOT, |directory, name| {
            self.volume.look_up(directory, name).unwrap_or_else(|| panic!("{path:?} has no place"))
        });
        (directory, name.to_owned())
    }
}

/// The line that the process prints for `event`.
pub(super) fn line(event: &Known) -> String {
    let Known { position, stream, version, part: [commit, part, of] } = event;
    format!("known {position} {stream} {version} {commit} {part} {of}\n")
}

fn said(bytes: &[u8]) -> impl Iterator<Item = Known> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let known = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [position, stream, version, commit, part, of] = words[..] else { return None };
        Some(Known {
            position: position.parse().ok()?,
            stream: stream.to_owned(),
            version: version.parse().ok()?,
            part: [commit.parse().ok()?, part.parse().ok()?, of.parse().ok()?],
        })
    };
    let lines = text.lines().filter_map(|line| known(line.split_once("known ")?.1));
    lines.collect::<Vec<_>>().into_iter()
}

/// Writes `volume`, as the running system sees it, to the real directory `to`.
pub(super) fn materialise(volume: &Volume, to: &Path) {
    write_directory(volume, ROOT, to);
}

fn write_directory(volume: &Volume, directory: Node, to: &Path) {
    for (name, node) in volume.names(directory) {
        let to = to.join(name);
        if volume.is_directory(*node) {
            fs::create_dir(&to).unwrap();
            write_directory(volume, *node, &to);
        } else {
            let mut bytes = vec![0; volume.length(*node) as usize];
            volume.read(*node, &mut bytes, 0);
            File::create(&to).unwrap().write_all(&bytes).unwrap();
        }
    }
}
