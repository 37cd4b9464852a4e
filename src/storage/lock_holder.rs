//! The process that holds a lock, where the system says so: Linux lists all locks in `/proc/locks` (proc_locks(5)).

use crate::storage::stat::FileIdentity;
use std::fmt;
use std::fs;
use std::path::Path;

/// A process that holds a lock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LockHolder {
    This,
    Other { pid: u32, name: Option<String> },
}

impl LockHolder {
    /// The holder of a lock of the whole file or directory `path`. `None` if there is none, or if the system does not
    /// say: on some filesystems the list names another device, and it does not name processes of other namespaces.
    pub(crate) fn of(path: &Path) -> Option<LockHolder> {
        let identity = FileIdentity::at(path).ok()?;
        let pid = pid_in(&fs::read_to_string("/proc/locks").ok()?, identity)?;
        if pid == std::process::id() {
            return Some(LockHolder::This);
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        let name = name.map(|name| name.trim_end().to_owned());
        Some(LockHolder::Other { pid, name })
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockHolder::This => f.write_str("this process"),
            LockHolder::Other { pid, name: Some(name) } => write!(f, "process {pid} ({name})"),
            LockHolder::Other { pid, name: None } => write!(f, "process {pid}"),
        }
    }
}

/// The process with an flock of the file in a list such as `1: FLOCK  ADVISORY  WRITE 4711 08:02:131073 0 EOF`. Lines
/// with an arrow are of processes that wait.
fn pid_in(locks: &str, of: FileIdentity) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_flock = words.next()? == "FLOCK";
        let (pid, file) = (words.nth(2)?, words.next()?);
        (is_flock && file == of.name()).then(|| pid.parse().ok()).flatten().filter(|pid| *pid > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::lock::LockHandle;

    #[test]
    fn the_holder_is_the_process_with_the_lock_and_not_one_that_waits() {
        let directory = tempfile::tempdir().unwrap();
        let identity = FileIdentity::at(directory.path()).unwrap();
        let file = identity.name();
        let locks = format!(
            "1: POSIX  ADVISORY  WRITE 10 {file} 0 EOF\n2: FLOCK  ADVISORY  WRITE 11 00:01:1 0 EOF\n\
             3: -> FLOCK  ADVISORY  WRITE 12 {file} 0 EOF\n4: FLOCK  ADVISORY  WRITE 13 {file} 0 EOF\n"
        );
        assert_eq!(pid_in(&locks, identity), Some(13));
        assert_eq!(pid_in("", identity), None);
        assert_eq!(pid_in("a line\n5: FLOCK\n", identity), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lock_of_ones_own_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let handle = LockHandle::open_directory(directory.path()).unwrap();
        assert_eq!(LockHolder::of(directory.path()), None);
        assert!(handle.try_lock().unwrap());
        // The system may not name the filesystem's device as `stat` does.
        assert!(matches!(LockHolder::of(directory.path()), Some(LockHolder::This) | None));
    }
}
