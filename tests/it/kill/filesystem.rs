//! The power is cut beneath a real filesystem: ext4 in an image, stopped at a random moment so that it
//! writes nothing more, and mounted again. The store on it has all that was acknowledged.
//!
//! Who works there is the process that is killed elsewhere; the acknowledgements are noted in this one.
//! Linux only, and only with the right to mount; what is lacking is said, and left out.
//! `FILMSTRIP_ROUNDS=200 cargo test --release --test it kill::filesystem -- --nocapture` for a long run.

use crate::kill::work::{Acknowledged, Moment, check_acknowledged, check_all, listen, start_with};
use filmstrip::Store;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const IMAGE_BYTES: u64 = 256 << 20;
const ROUNDS_OF_AN_IMAGE: u64 = 10;

fn ran(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).output();
    let output = ran.map_err(|error| format!("{program} cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// An image of ext4, mounted or not.
struct Filesystem {
    directory: TempDir,
    cut: PathBuf,
    options: &'static str,
}

impl Filesystem {
    /// A fresh one, mounted; otherwise, what the machine lacks for it.
    fn new(options: &'static str) -> Result<Filesystem, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (image, source, cut) = (path("image"), path("cut.c"), path("cut"));
        std::fs::write(&source, include_str!("cut.c")).unwrap();
        ran("cc", &["-o", text(&cut), text(&source)])?;
        std::fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        std::fs::create_dir(path("mounted")).unwrap();
        ran("mkfs.ext4", &["-q", text(&image)])?;
        let filesystem = Filesystem { directory, cut, options };
        filesystem.mount()?;
        Ok(filesystem)
    }

    fn mounted(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn store(&self) -> PathBuf {
        self.mounted().join("store")
    }

    fn mount(&self) -> Result<(), String> {
        let (image, options) =
            (self.directory.path().join("image"), format!("loop,{}", self.options));
        ran("mount", &["-t", "ext4", "-o", &options, text(&image), text(&self.mounted())])
    }

    fn cut(&self) {
        ran(text(&self.cut), &[text(&self.mounted())]).unwrap();
    }

    /// What a machine does when its power is back.
    fn start_again(&self) {
        ran("umount", &[text(&self.mounted())]).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        // A thread that panics may have files open.
        let _ = ran("umount", &["--lazy", text(&self.mounted())]);
    }
}

/// Lets a process work on `filesystem`, with these variables, until the power is cut; what it acknowledged.
fn cut(filesystem: &Filesystem, moment: Moment, variables: &[(&str, &Path)]) -> Acknowledged {
    let mut child = start_with(&filesystem.store(), variables);
    // What is acknowledged after the cut counts too: there must be nothing.
    let last = listen(&mut child, moment, |child| {
        filesystem.cut();
        child.kill().unwrap();
    });
    child.wait().unwrap();
    filesystem.start_again();
    last
}

/// A fresh filesystem, if the machine can have one; if not, that is said.
fn filesystem(options: &'static str) -> Option<Filesystem> {
    let made = Filesystem::new(options);
    made.map_err(|lacking| println!("skipped: power cuts beneath ext4: {lacking}")).ok()
}

#[test]
fn a_power_cut_beneath_ext4_leaves_whatever_was_acknowledged() {
    let rounds = std::env::var("FILMSTRIP_ROUNDS").map_or(6, |n| n.parse().expect("a number"));
    let (mut total, mut current) = (0, None);
    for round in 0..rounds {
        if round % ROUNDS_OF_AN_IMAGE == 0 {
            drop(current.take());
            let options = ["data=ordered", "data=writeback"][round as usize / 10 % 2];
            current = filesystem(options);
        }
        let Some(filesystem) = &current else { return };
        let moment = Moment::of(round);
        let last = cut(filesystem, moment, &[]);
        let case = format!("round {round}, {moment:?}, {}", filesystem.options);
        let store = Store::open(filesystem.store()).unwrap_or_else(|e| panic!("{case}: {e}"));
        total += last.len();
        check_acknowledged(&store, &last, &case);
        check_all(&store, &case);
    }
    println!("figures: power cuts beneath ext4: {rounds} rounds");
    assert!(total > 0 || rounds < 3, "nothing was ever acknowledged");
}

/// The test above is believed because of this one, which catches a store that acknowledges without a sync.
#[test]
fn a_power_cut_beneath_ext4_takes_what_was_never_synced() {
    let Some(filesystem) = filesystem("data=ordered") else { return };
    let (source, library) = (
        filesystem.directory.path().join("forget.c"),
        filesystem.directory.path().join("forget.so"),
    );
    std::fs::write(&source, include_str!("forget.c")).unwrap();
    ran("cc", &["-fPIC", "-shared", "-o", text(&library), text(&source)]).unwrap();
    let last = cut(&filesystem, Moment::Lines(50), &[("LD_PRELOAD", &library)]);
    let acknowledged = last.values().map(|(_, position)| *position).max();
    let store = Store::open(filesystem.store());
    let kept = store.as_ref().map_or(0, |store| store.head().get());
    assert!(Some(kept) < acknowledged, "{kept} of {acknowledged:?} were kept without a sync");
}
