//! What runs on the machine, by its command line.

/// Processes of the machine that have `text` in their command line.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let command = |entry: std::fs::DirEntry| {
        let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        line.contains(text).then_some(line)
    };
    processes.filter_map(command).collect()
}
