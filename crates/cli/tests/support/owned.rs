//! What the machine has of a run: told by its control groups, which are named
//! after its process, since others may use the machine meanwhile.

/// A process in what `owner` runs apart, by its name and a part of its command.
pub(crate) fn process(owner: u32, name: &str, part: &str) -> Option<u32> {
    let group = format!("/seatrial/{owner}-");
    let of = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let read = |file| std::fs::read_to_string(entry.path().join(file)).ok();
        let ours = read("comm")?.trim() == name && read("cgroup")?.contains(&group);
        (ours && read("cmdline")?.replace('\0', " ").contains(part)).then_some(pid)
    };
    std::fs::read_dir("/proc").expect("/proc").flatten().find_map(of)
}
