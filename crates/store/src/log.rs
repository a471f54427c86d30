//! Log bytes: one file for each stream of an attempt, written in segments that
//! say where they belong. They are not events, and not synced: after a crash
//! the sender goes on at the offset that is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use seatrial_core::ids::{AttemptId, RunId};
use seatrial_core::name::Name;

use crate::error::StoreError;
use crate::open::Store;

/// One stream of bytes that an attempt wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogKey<'a> {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The stream: `stdout`, `stderr`, or the name of a component.
    pub stream: &'a Name,
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Where the next segment begins.
    pub next: u64,
    /// Whether bytes were dropped because the log is at its cap.
    pub truncated: bool,
}

impl Store {
    /// Removes all logs of a run.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove_logs(&self, run: RunId) -> Result<(), StoreError> {
        let dir = self.dir().join("logs").join(run.to_string());
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &dir)(error))
            }
            _ => Ok(()),
        }
    }

    /// Appends a segment that begins at `offset`. Bytes that are there already
    /// are compared, so that a sender may repeat itself; bytes beyond `cap` are
    /// dropped, and so is every later segment.
    ///
    /// # Errors
    /// [`StoreError::LogOffset`] when there is a gap before the segment or it
    /// contradicts what is there.
    pub fn append_log(
        &self,
        key: LogKey<'_>,
        offset: u64,
        bytes: &[u8],
        cap: u64,
    ) -> Result<Appended, StoreError> {
        self.disk().check()?;
        let path = self.log_path(key);
        let open = || OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let dir = self.dir().join("logs").join(key.run.to_string());
                fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
                open()
            }
            opened => opened,
        };
        let mut file = file.map_err(StoreError::io("open", &path))?;
        let length = file.metadata().map_err(StoreError::io("read the size of", &path))?.len();
        if length >= cap && offset >= cap {
            return Ok(Appended { next: cap, truncated: true });
        }
        let wrong = StoreError::LogOffset { expected: length, found: offset };
        let Some(overlap) = length.checked_sub(offset) else {
            return Err(wrong);
        };
        let overlap = usize::try_from(overlap).unwrap_or(usize::MAX).min(bytes.len());
        let (again, new) = bytes.split_at(overlap);
        if !again.is_empty() {
            let mut there = vec![0; again.len()];
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(&mut there))
                .map_err(StoreError::io("read", &path))?;
            if there != again {
                return Err(wrong);
            }
        }
        let room = usize::try_from(cap.saturating_sub(length)).unwrap_or(usize::MAX);
        let kept = &new[..new.len().min(room)];
        file.write_all(kept).map_err(StoreError::io("write", &path))?;
        Ok(Appended { next: length + kept.len() as u64, truncated: kept.len() < new.len() })
    }

    /// Reads at most `limit` bytes from `offset` on. A log that does not exist
    /// is empty.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_log(
        &self,
        key: LogKey<'_>,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let path = self.log_path(key);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(limit).read_to_end(&mut bytes))
            .map_err(StoreError::io("read", &path))?;
        Ok(bytes)
    }

    /// The file that holds a log, or would.
    #[must_use]
    pub fn log_path(&self, key: LogKey<'_>) -> PathBuf {
        let name = format!("{}.{}", key.attempt, key.stream);
        self.dir().join("logs").join(key.run.to_string()).join(name)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::open::tests::store;

    #[test]
    fn segments_are_put_where_they_belong() {
        let (_dir, store) = store();
        let stream: Name = "stdout".parse().expect("name");
        let run = RunId::from_uuid(Uuid::from_u128(1));
        let attempt = AttemptId::from_uuid(Uuid::from_u128(2));
        let key = LogKey { run, attempt, stream: &stream };
        let append = |offset, text: &str| store.append_log(key, offset, text.as_bytes(), 10);
        let next = |next, truncated| Appended { next, truncated };
        assert_eq!(store.read_log(key, 0, 99).expect("read"), b"");
        assert_eq!(append(0, "abc").expect("first"), next(3, false));
        assert_eq!(append(0, "abc").expect("repeated"), next(3, false));
        assert_eq!(append(1, "bcde").expect("overlap"), next(5, false));
        let error = append(7, "x").expect_err("gap");
        assert_eq!(error.to_string(), "log continues at offset 5, not 7");
        let error = append(4, "Ef").expect_err("other bytes");
        assert_eq!(error.to_string(), "log continues at offset 5, not 4");
        assert_eq!(append(5, "fghijkl").expect("over the cap"), next(10, true));
        assert_eq!(append(12, "m").expect("dropped"), next(10, true));
        assert_eq!(store.read_log(key, 0, 99).expect("read"), b"abcdefghij");
        assert_eq!(store.read_log(key, 2, 3).expect("read"), b"cde");
    }
}
