//! One test for each row of bad archives: path, link, type, ambiguity, bomb,
//! limit; then the good ones, so that the refusals are not the only thing that
//! works.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use seatrial_core::fuzz::bytes;
use tar::Header;

use super::*;

/// Writes headers as they come, also ones that the `tar` crate would not.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: &[u8], mode: u32, link: &[u8], data: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.as_ustar_mut().unwrap().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &str) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), 0o755, b"", data.as_bytes())
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), 0o777, target.as_bytes(), b"")
    }

    fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), 0o755, target.as_bytes(), b"")
    }

    fn kind(self, kind: EntryType) -> Self {
        self.entry(kind, b"odd", 0o644, b"", b"")
    }

    fn pax(self, key: &str, value: &str) -> Self {
        let record = pax_record(key, value);
        self.entry(EntryType::XHeader, b"pax", 0o644, b"", record.as_bytes())
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        gzip(&self.0)
    }
}

fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length += 1;
    }
    format!("{length}{rest}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks `tool` from an archive and returns its content.
fn take(bytes: &[u8], limit: u64) -> Result<String, ArchiveError> {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar.gz");
    let out = dir.path().join("out");
    fs::create_dir_all(out.join("bin")).unwrap();
    fs::write(&archive, bytes).unwrap();
    let wanted = BTreeMap::from([("tool".to_owned(), "bin/tool".to_owned())]);
    let result = unpack(&archive, &wanted, &out, limit);
    let written: Vec<_> = walk(dir.path());
    let allowed = ["", "a.tar.gz", "out", "out/bin", "out/bin/tool"];
    assert!(written.iter().all(|path| allowed.contains(&path.as_str())), "{written:?}");
    result.map(|()| String::from_utf8_lossy(&fs::read(out.join("bin/tool")).unwrap()).into_owned())
}

/// Digits that do not compress to a hundredth.
fn noise(length: usize) -> String {
    let mut text = String::new();
    for n in 0_u32.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&n.wrapping_mul(2_654_435_761).to_string());
    }
    text
}

fn walk(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        found.push(next.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
        if next.is_dir() {
            open.extend(fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

fn refusal(tar: Tar) -> String {
    let error = take(&tar.file("tool", "x").finish(), 1 << 30).unwrap_err();
    format!("{}: {error}", error.code())
}

#[test]
fn paths_that_leave_the_archive() {
    let check = |name: &str| refusal(Tar::default().file(name, "x"));
    insta::assert_snapshot!(check("../x"), @r#"archive.path_escape: entry "../x": the path leads upwards"#);
    insta::assert_snapshot!(check("a/../../x"), @r#"archive.path_escape: entry "a/../../x": the path leads upwards"#);
    insta::assert_snapshot!(check("/etc/x"), @r#"archive.path_escape: entry "/etc/x": the path is absolute"#);
    insta::assert_snapshot!(check("C:x"), @r#"archive.path_escape: entry "C:x": the path is absolute"#);
    insta::assert_snapshot!(check(r"\\host\x"), @r#"archive.path_escape: entry "\\\\host\\x": the path is absolute"#);
    insta::assert_snapshot!(check(r"a\..\x"), @r#"archive.path_escape: entry "a\\..\\x": the path contains a backslash"#);
    insta::assert_snapshot!(check(""), @r#"archive.path_escape: entry "": the path is empty"#);
    insta::assert_snapshot!(check("a//x"), @r#"archive.path_escape: entry "a//x": the path has an empty part"#);
    insta::assert_snapshot!(check("a./x"), @r#"archive.path_escape: entry "a./x": a name ends in a dot or space"#);
    insta::assert_snapshot!(check("x "), @r#"archive.path_escape: entry "x ": a name ends in a dot or space"#);
    insta::assert_snapshot!(refusal(Tar::default().pax("path", "a\0b").file("x", "x")), @r#"archive.path_escape: entry "a\0b": the path contains a NUL byte"#);
    insta::assert_snapshot!(refusal(Tar::default().pax("path", "../x").file("x", "x")), @r#"archive.path_escape: entry "../x": the path leads upwards"#);
    let no_text = Tar::default().entry(EntryType::Regular, b"\xff", 0o644, b"", b"");
    insta::assert_snapshot!(refusal(no_text), @r#"archive.path_escape: entry "�": the path is no UTF-8"#);
}

#[test]
fn entries_behind_a_link() {
    insta::assert_snapshot!(refusal(Tar::default().symlink("a", "/etc").file("a/x", "x")), @r#"archive.link_escape: entry "a/x" goes through the link "a""#);
    insta::assert_snapshot!(refusal(Tar::default().symlink("a/b", ".").file("a/b/c/x", "x")), @r#"archive.link_escape: entry "a/b/c/x" goes through the link "a/b""#);
    // A link as the wanted file itself.
    let wanted = Tar::default().symlink("tool", "/etc/shadow").finish();
    insta::assert_snapshot!(take(&wanted, 1 << 20).unwrap_err(), @r#"entry "tool" is a link or directory"#);
}

#[test]
fn types_that_no_release_has() {
    insta::assert_snapshot!(refusal(Tar::default().hardlink("a", "/etc/shadow")), @r#"archive.forbidden_type: entry "a" is a hard link to a file that is not in the archive"#);
    insta::assert_snapshot!(refusal(Tar::default().hardlink("a", "tool")), @r#"archive.forbidden_type: entry "a" is a hard link to a file that is not in the archive"#);
    insta::assert_snapshot!(refusal(Tar::default().kind(EntryType::Char)), @r#"archive.forbidden_type: entry "odd" is a device"#);
    insta::assert_snapshot!(refusal(Tar::default().kind(EntryType::Block)), @r#"archive.forbidden_type: entry "odd" is a device"#);
    insta::assert_snapshot!(refusal(Tar::default().kind(EntryType::Fifo)), @r#"archive.forbidden_type: entry "odd" is a FIFO"#);
    insta::assert_snapshot!(refusal(Tar::default().kind(EntryType::GNUSparse)), @r#"archive.forbidden_type: entry "odd" is a sparse file"#);
    insta::assert_snapshot!(refusal(Tar::default().kind(EntryType::new(b'!'))), @r#"archive.forbidden_type: entry "odd" is a file of an unknown kind"#);
    let setuid = Tar::default().entry(EntryType::Regular, b"su", 0o4755, b"", b"x");
    insta::assert_snapshot!(refusal(setuid), @r#"archive.forbidden_type: entry "su" is a set-user-ID or set-group-ID file"#);
}

#[test]
fn archives_with_two_meanings() {
    let check = refusal;
    insta::assert_snapshot!(check(Tar::default().pax("size", "4096").file("x", "x")), @r#"archive.ambiguous: entry "x": two sizes for one entry"#);
    insta::assert_snapshot!(check(Tar::default().pax("path", "a").pax("path", "b").file("x", "x")), @r#"archive.ambiguous: entry "pax": two extended headers for one entry"#);
    let twice = pax_record("path", "a") + &pax_record("path", "b");
    let twice = Tar::default().entry(EntryType::XHeader, b"p", 0o644, b"", twice.as_bytes());
    insta::assert_snapshot!(check(twice.file("x", "x")), @r#"archive.ambiguous: entry "p": an extended header that is none"#);
    insta::assert_snapshot!(check(Tar::default().pax("GNU.sparse.major", "1").file("x", "x")), @r#"archive.ambiguous: entry "pax": an extended header that is none"#);
    let no_records = Tar::default().entry(EntryType::XHeader, b"p", 0o644, b"", b"99 path=x\n");
    insta::assert_snapshot!(check(no_records.file("x", "x")), @r#"archive.ambiguous: entry "p": an extended header that is none"#);
    let global = pax_record("path", "tool");
    let global =
        Tar::default().entry(EntryType::XGlobalHeader, b"g", 0o644, b"", global.as_bytes());
    insta::assert_snapshot!(check(global), @r#"archive.ambiguous: entry "g": a global header that names or sizes entries"#);
    // Behind the end of the archive, and behind the end of the gzip data.
    let mut plain = Tar::default().file("tool", "x").0;
    plain.extend([0; 1024]);
    let hidden = [plain, Tar::default().file("tool", "y").0].concat();
    insta::assert_snapshot!(take(&gzip(&hidden), 1 << 20).unwrap_err(), @"content behind the end of the archive");
    let trailing = [Tar::default().file("tool", "x").finish(), b"x".to_vec()].concat();
    insta::assert_snapshot!(take(&trailing, 1 << 20).unwrap_err(), @"content behind the end of the compressed data");
}

#[test]
fn bombs() {
    let zeros = "\0".repeat(1 << 20);
    let bomb = Tar::default().file("big", &zeros).file("tool", "x").finish();
    assert!(bomb.len() < 20_000, "compresses well");
    let ratio = take(&bomb, 1 << 30).unwrap_err();
    assert!(matches!(ratio, ArchiveError::Bomb { limit } if limit == bomb.len() as u64 * RATIO));
    // More than the limit, at an honest ratio, also in an unwanted entry.
    let large = Tar::default().file("big", &noise(200_000)).file("tool", "x").finish();
    insta::assert_snapshot!(take(&large, 64 << 10).unwrap_err(), @"unpacks to more than 65536 bytes");
    assert_eq!(take(&large, 1 << 20).unwrap(), "x");
}

#[test]
fn limits() {
    let long = format!("{}x", "a/".repeat(2048));
    insta::assert_snapshot!(refusal(Tar::default().pax("path", &long).file("x", "x")), @"archive.limit: a path of more than 4096 bytes");
    let wide = "a".repeat(256);
    insta::assert_snapshot!(refusal(Tar::default().pax("path", &wide).file("x", "x")), @"archive.limit: a name of more than 255 bytes");
    insta::assert_snapshot!(refusal(Tar::default().file("a", "x").file("./a", "y")), @"archive.limit: two entries with the same name");
    let huge = noise(70_000);
    insta::assert_snapshot!(refusal(Tar::default().pax("comment", &huge).file("x", "x")), @"archive.limit: an extended header of more than 64 KiB");
    let names = noise(ENTRIES * 32);
    let many = (0..=ENTRIES).fold(Tar::default(), |tar, n| {
        let at = n * 32 % (names.len() - 32);
        tar.file(&format!("{n}-{}", &names[at..at + 32]), "")
    });
    insta::assert_snapshot!(refusal(many), @"archive.limit: more than 10000 entries");
    let alone = Tar::default().file("tool", "x").pax("path", "x").finish();
    insta::assert_snapshot!(take(&alone, 1 << 20).unwrap_err(), @"an extended header without an entry");
}

#[test]
fn damage_is_said() {
    let good = Tar::default().file("tool", "x").finish();
    insta::assert_snapshot!(take(&good[..good.len() - 9], 1 << 20).unwrap_err(), @"the archive is damaged");
    insta::assert_snapshot!(take(b"<html>not found</html>", 1 << 20).unwrap_err(), @"the archive is damaged");
    let other = Tar::default().file("other", "x").finish();
    insta::assert_snapshot!(take(&other, 1 << 20).unwrap_err(), @r#"there is no file "tool" in the archive"#);
}

#[test]
fn what_releases_look_like_is_taken() {
    let check = |tar: Tar| assert_eq!(take(&tar.finish(), 1 << 20).unwrap(), "content");
    let dir = |tar: Tar, name: &[u8]| tar.entry(EntryType::Directory, name, 0o755, b"", b"");
    check(Tar::default().file("tool", "content"));
    check(dir(Tar::default(), b"./").file("./tool", "content").file("./LICENSE", "x"));
    check(Tar::default().pax("mtime", "1.5").file("tool", "content"));
    check(Tar::default().pax("path", "tool").file("cut-na", "content"));
    check(Tar::default().symlink("latest", "tool").file("tool", "content").hardlink("t2", "tool"));
    let long_name =
        Tar::default().entry(EntryType::GNULongName, b"././@LongLink", 0o644, b"", b"tool\0");
    check(long_name.file("too", "content"));
    let comment = pax_record("comment", "0123");
    let git = Tar::default().entry(EntryType::XGlobalHeader, b"g", 0o644, b"", comment.as_bytes());
    check(git.file("tool", "content"));
}

proptest::proptest! {
    /// Whatever the bytes are, the answer is an error or the file, and nothing
    /// is written elsewhere (`take` looks).
    #[test]
    fn any_bytes(flips in proptest::collection::vec((0_usize..4096, 0_u8..=255), 0..8)) {
        let tar = Tar::default().pax("path", "tool").file("t", "content").symlink("l", "x");
        let mut bytes = tar.file("last", "x").0;
        bytes.extend([0; 1024]);
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = take(&gzip(&bytes), 1 << 20);
    }
}

/// Gives each header the checksum of what it now says: without, no reader
/// would look at the rest of it.
fn with_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        let mut header = Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

proptest! {
    /// Nothing but what was asked for is ever written, whatever the archive
    /// says, and what was written is one file of it.
    #[test]
    fn fuzz_source_archive(
        tar in bytes(&[
            Tar::default().pax("path", "tool").file("long", "first").0,
            Tar::default().symlink("bin", "/etc").hardlink("tool", "bin/x").file("tool", "second").0,
            Tar::default()
                .entry(EntryType::GNULongName, b"././@LongLink", 0o644, b"", b"a/../../tool\0")
                .file("x", "third")
                .entry(EntryType::XGlobalHeader, b"g", 0o644, b"", pax_record("comment", "x").as_bytes())
                .file("./tool", "fourth")
                .0,
        ]),
        raw in bytes(&[Tar::default().file("tool", "fifth").finish()]),
    ) {
        let mut tar = tar.to_vec();
        tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
        with_checksums(&mut tar);
        // `take` looks at what was written.
        if let Ok(content) = take(&gzip(&tar), 1 << 20) {
            prop_assert!(content.len() <= tar.len());
        }
        let _ = take(&raw, 1 << 20);
    }
}
