//! The `pause` command: the process that holds a pod's namespaces.
//!
//! It is written here, instruction by instruction, because no publisher has it
//! as a file, because it must start without any library, and because every pod
//! has one: this one takes a page of memory. It waits for SIGINT or SIGTERM and
//! then ends with 0; children that are handed to it, as to the first process of
//! a PID namespace that a pod's containers share, are reaped by the kernel.

/// Where the file is mapped; any address that is not the first page.
const ADDRESS: u64 = 0x40_0000;
/// The sizes of the headers of the ELF format, 64-bit (ELF-64 Object File
/// Format, version 1.5, tables 4 and 14).
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// SIGINT (2) and SIGTERM (15) as a signal set.
const SIGNALS: u64 = 1 << (2 - 1) | 1 << (15 - 1);
/// A `struct sigaction` that ignores a signal: SIG_IGN, no flags, no
/// restorer, an empty mask.
const IGNORE: [u64; 4] = [1, 0, 0, 0];

/// x86-64. The offsets of `signals` and `ignore` count from the end of the
/// instruction; both lie behind the code, in this order.
const X86_64: &[&[u8]] = &[
    // Signals that are blocked are kept until they are waited for.
    b"\xb8\x0e\x00\x00\x00",         // mov  eax, 14            rt_sigprocmask
    b"\x31\xff",                     // xor  edi, edi           SIG_BLOCK
    b"\x48\x8d\x35\x3e\x00\x00\x00", // lea  rsi, [signals]
    b"\x31\xd2",                     // xor  edx, edx
    b"\x41\xba\x08\x00\x00\x00",     // mov  r10d, 8            size of a set
    b"\x0f\x05",                     // syscall
    // Who ignores SIGCHLD has no zombies.
    b"\xb8\x0d\x00\x00\x00",         // mov  eax, 13            rt_sigaction
    b"\xbf\x11\x00\x00\x00",         // mov  edi, 17            SIGCHLD
    b"\x48\x8d\x35\x2b\x00\x00\x00", // lea  rsi, [ignore]
    b"\x31\xd2",                     // xor  edx, edx
    b"\x0f\x05",                     // syscall
    // Again after an interruption, as by a stop and a continuation.
    b"\xb8\x80\x00\x00\x00", // mov  eax, 128           rt_sigtimedwait
    b"\x48\x8d\x3d\x13\x00\x00\x00", // lea  rdi, [signals]
    b"\x31\xf6",             // xor  esi, esi
    b"\x31\xd2",             // xor  edx, edx           without end
    b"\x0f\x05",             // syscall
    b"\x85\xc0",             // test eax, eax
    b"\x78\xea",             // js   -22                to rt_sigtimedwait
    b"\xb8\x3c\x00\x00\x00", // mov  eax, 60            exit
    b"\x31\xff",             // xor  edi, edi
    b"\x0f\x05",             // syscall
];

/// AArch64, the same. Every instruction is four bytes.
const AARCH64: &[&[u8]] = &[
    b"\xe8\x10\x80\xd2", // mov  x8, #135   rt_sigprocmask
    b"\x00\x00\x80\xd2", // mov  x0, #0     SIG_BLOCK
    b"\x41\x02\x00\x10", // adr  x1, signals
    b"\x02\x00\x80\xd2", // mov  x2, #0
    b"\x03\x01\x80\xd2", // mov  x3, #8     size of a set
    b"\x01\x00\x00\xd4", // svc  #0
    b"\xc8\x10\x80\xd2", // mov  x8, #134   rt_sigaction
    b"\x20\x02\x80\xd2", // mov  x0, #17    SIGCHLD
    b"\xc1\x01\x00\x10", // adr  x1, ignore
    b"\x02\x00\x80\xd2", // mov  x2, #0
    b"\x01\x00\x00\xd4", // svc  #0
    b"\x28\x11\x80\xd2", // mov  x8, #137   rt_sigtimedwait
    b"\x00\x01\x00\x10", // adr  x0, signals
    b"\x01\x00\x80\xd2", // mov  x1, #0
    b"\x02\x00\x80\xd2", // mov  x2, #0     without end
    b"\x01\x00\x00\xd4", // svc  #0
    b"\x60\xff\xff\xb7", // tbnz x0, #63, -20   to rt_sigtimedwait
    b"\xa8\x0b\x80\xd2", // mov  x8, #93    exit
    b"\x00\x00\x80\xd2", // mov  x0, #0
    b"\x01\x00\x00\xd4", // svc  #0
];

/// The program as an ELF file for this machine; nothing if Seatrial does not
/// know its instructions.
pub(crate) fn program() -> Option<Vec<u8>> {
    // `e_machine`, ELF specification of each architecture.
    match std::env::consts::ARCH {
        "x86_64" => Some(elf(62, X86_64)),
        "aarch64" => Some(elf(183, AARCH64)),
        _ => None,
    }
}

/// One executable segment, mapped whole, that starts behind its headers.
fn elf(machine: u16, instructions: &[&[u8]]) -> Vec<u8> {
    let mut body = instructions.concat();
    for word in [&[SIGNALS], &IGNORE[..]].concat() {
        body.extend(word.to_le_bytes());
    }
    let code = HEADER + PROGRAM_HEADER;
    let size = code + body.len() as u64;
    // 64 bits, little endian, version 1, System V.
    let mut file = b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    half(&mut file, 2); // e_type: executable
    half(&mut file, machine);
    word(&mut file, 1); // e_version
    long(&mut file, ADDRESS + code); // e_entry
    long(&mut file, HEADER); // e_phoff
    long(&mut file, 0); // e_shoff: no sections
    word(&mut file, 0); // e_flags
    for value in [HEADER as u16, PROGRAM_HEADER as u16, 1, 0, 0, 0] {
        half(&mut file, value); // e_ehsize, e_phentsize, e_phnum, no sections
    }
    word(&mut file, 1); // p_type: load
    word(&mut file, 5); // p_flags: read, execute
    for value in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        long(&mut file, value); // p_offset, addresses, sizes, alignment
    }
    file.extend(body);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::*;

    fn write() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create_new(true).write(true).mode(0o755).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &program().unwrap()).unwrap();
        (dir, path)
    }

    /// A process that a failed test does not leave behind.
    struct Guard(Child);

    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// The process's state letter and what it waits for, from `/proc`.
    fn state(child: &Child) -> String {
        let proc = format!("/proc/{}", child.id());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let line = |name: &str| {
            status.lines().find(|l| l.starts_with(name)).unwrap_or_default().replace('\t', " ")
        };
        let children = std::fs::read_to_string(format!("{proc}/task/{}/children", child.id()));
        let children = children.unwrap_or_default().split_whitespace().count();
        format!("{} {} children {children}", line("Name:"), line("State:"))
    }

    /// Waits for a level, with a deadline that only a broken program meets.
    fn wait_for(child: &Child, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while state(child) != wanted {
            assert!(Instant::now() < deadline, "wanted {wanted:?}, last {:?}", state(child));
            std::thread::yield_now();
        }
    }

    const PAUSED: &str = "Name: pause State: S (sleeping) children 0";

    #[test]
    fn it_ends_in_order_when_told_to() {
        let (_dir, path) = write();
        for signal in ["-TERM", "-INT"] {
            let mut guard = Guard(Command::new(&path).spawn().unwrap());
            let child = &mut guard.0;
            wait_for(child, PAUSED);
            let id = child.id().to_string();
            let kill = |signal: &str| {
                let status = Command::new("kill").args([signal, &id]).status();
                assert!(status.unwrap().success());
            };
            // Stopped and continued, as a freezer does, it goes on waiting.
            kill("-STOP");
            wait_for(child, &PAUSED.replace("S (sleeping)", "T (stopped)"));
            kill("-CONT");
            wait_for(child, PAUSED);
            kill(signal);
            let status = child.wait().unwrap();
            assert_eq!((status.code(), status.signal()), (Some(0), None));
        }
    }

    #[test]
    fn it_reaps() {
        let (_dir, path) = write();
        // The shell becomes the pause, which so gets a child that it never
        // started and that ends when its input does.
        let child = Command::new("sh")
            .args(["-c", "exec 3<&0; cat <&3 & exec 3<&- <&-; exec \"$0\""])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut guard = Guard(child);
        wait_for(&guard.0, &PAUSED.replace("children 0", "children 1"));
        drop(guard.0.stdin.take());
        wait_for(&guard.0, PAUSED);
    }

    #[test]
    fn it_is_small_and_stays_what_it_is() {
        let [x86, arm] = [elf(62, X86_64), elf(183, AARCH64)];
        assert_eq!((x86.len(), arm.len()), (236, 240));
        // The offsets in the code hold only while nothing moves.
        assert_eq!(X86_64.concat().len(), 0x07 + 7 + 0x3e);
        assert_eq!(AARCH64.concat().len(), 0x08 + 72);
    }
}
