//! What Linux tells of this process, its files and the machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// The most memory that this process ever had resident, in MiB.
pub fn peak_memory() -> f64 {
    status("VmHWM:")
}

/// The memory that this process has now and that no file backs, in MiB.
pub fn anonymous_memory() -> f64 {
    status("RssAnon:")
}

fn status(entry: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(entry));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1_024.0
}

/// The bytes that all files together take from the disk, holes not counted.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512);
    };
    entries.flatten().map(|entry| disk_bytes(&entry.path())).sum()
}

/// Whether this process may drop the page cache.
pub fn may_drop_page_cache() -> bool {
    std::fs::OpenOptions::new().write(true).open(DROP_CACHES).is_ok()
}

/// Drops the page cache; false if this process may not. Pages that are not yet written stay, so that
/// everything is written first.
pub fn drop_page_cache() -> bool {
    let synced = Command::new("sync").status().is_ok_and(|status| status.success());
    synced && std::fs::write(DROP_CACHES, "3").is_ok()
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
    let memory = field(&read("/proc/meminfo"), "MemTotal:");
    let memory = memory.trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / (1 << 20) as f64;
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date =
        date.map_or(String::new(), |date| String::from_utf8_lossy(&date.stdout).into_owned());
    let (date, kernel) = (date.trim(), kernel.trim());
    format!("{date}: {model}, {cores} cores, {memory:.0} GiB of memory, Linux {kernel}.")
}
