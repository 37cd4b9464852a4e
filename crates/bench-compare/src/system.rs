//! What Linux tells of this process, its files and the machine.

use rustix::time::{ClockId, clock_gettime};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// The processor's time that this process has used, in all its threads.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory that this process ever had resident, in MiB.
pub fn peak_memory() -> f64 {
    status("VmHWM:")
}

/// The memory that this process has now and that no file backs, in MiB.
pub fn anonymous_memory() -> f64 {
    status("RssAnon:")
}

fn status(entry: &str) -> f64 {
    kib("/proc/self/status", entry) / 1_024.0
}

fn kib(path: &str, entry: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(entry));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0.0)
}

/// The bytes that all files together take from the disk, holes not counted.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512);
    };
    entries.flatten().map(|entry| disk_bytes(&entry.path())).sum()
}

/// Reads all files once.
pub fn read_files(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else {
        let mut file = std::fs::File::open(path).expect("a file");
        std::io::copy(&mut file, &mut std::io::sink()).expect("read");
        return;
    };
    entries.flatten().for_each(|entry| read_files(&entry.path()));
}

/// Whether this process may drop the page cache.
pub fn may_drop_page_cache() -> bool {
    std::fs::OpenOptions::new().write(true).open(DROP_CACHES).is_ok()
}

/// Drops the page cache; false if this process may not. Pages that are not yet written stay, so that
/// everything is written first.
pub fn drop_page_cache() -> bool {
    sync() && std::fs::write(DROP_CACHES, "3").is_ok()
}

/// Has Linux write everything that is only in memory; false if it did not.
pub fn sync() -> bool {
    Command::new("sync").status().is_ok_and(|status| status.success())
}

/// Writes the memory that is free, so that no measurement is the first to: the host of a virtual machine finds a
/// page's memory when that is written for the first time, which on one that had just started took a writer half of its
/// time. Leaves about a tenth, of a container's limit too; how many MiB it wrote.
pub fn touch_memory() -> usize {
    const PIECE_MIB: usize = 64;
    let limit = container("max").unwrap_or(f64::INFINITY);
    let spared = memory("MemTotal:").min(limit) / 10.0;
    let free = || memory("MemAvailable:").min(limit - container("current").unwrap_or(0.0));
    let mut pieces = Vec::new();
    while free() > spared + PIECE_MIB as f64 {
        // Not of zeros, which would be taken from Linux as they are, and not be written.
        pieces.push(std::hint::black_box(vec![1_u8; PIECE_MIB << 20]));
    }
    pieces.len() * PIECE_MIB
}

/// What a container may take of the memory, or takes, in MiB; nothing where there is none, or no limit.
fn container(what: &str) -> Option<f64> {
    let bytes = std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{what}")).ok()?;
    Some(bytes.trim().parse::<f64>().ok()? / (1 << 20) as f64)
}

/// What the machine has of a kind of memory, in MiB.
fn memory(entry: &str) -> f64 {
    kib("/proc/meminfo", entry) / 1_024.0
}

/// The day, and the processor, its cores, its memory and the kernel.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map_or("unknown".to_owned(), |value| value.trim_matches([' ', '\t', ':']).to_owned())
    };
    let model = field(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = memory("MemTotal:") / 1_024.0;
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date =
        date.map_or(String::new(), |date| String::from_utf8_lossy(&date.stdout).into_owned());
    let (date, kernel) = (date.trim(), kernel.trim());
    format!("{date}: {model}, {cores} cores, {memory:.0} GiB of memory, Linux {kernel}.")
}
