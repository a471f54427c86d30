//! Giving up capabilities and limits. Only ever takes away.
#![expect(unsafe_code, reason = "prctl and capset have no safe wrapper here")]

use std::io;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Tried};

/// Capabilities that let a process change the machine rather than its
/// environment; numbers from `linux/capability.h`.
pub(crate) const OF_THE_MACHINE: &[Capability] = &[
    Capability { number: 9, name: "CAP_LINUX_IMMUTABLE" },
    Capability { number: 16, name: "CAP_SYS_MODULE" },
    Capability { number: 17, name: "CAP_SYS_RAWIO" },
    Capability { number: 22, name: "CAP_SYS_BOOT" },
    Capability { number: 25, name: "CAP_SYS_TIME" },
];

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capability {
    number: u32,
    name: &'static str,
}

/// Takes `capabilities` out of the bounding set and all other sets of this
/// thread: neither it nor anything it starts can have them again.
pub(crate) fn drop_capabilities(capabilities: &[Capability]) -> Result<(), Error> {
    for capability in capabilities {
        drop_bounding(capability.number)
            .tried(|| format!("drop {} from the bounding set", capability.name))?;
    }
    let gone = capabilities.iter().fold(0_u64, |set, c| set | 1 << c.number);
    change_sets(!gone).tried(|| "drop capabilities".to_owned())
}

/// Empties the bounding set; what is started afterwards as an unprivileged
/// user has no capability and can get none.
pub(crate) fn empty_bounding_set() -> Result<(), Error> {
    for number in 0..64 {
        match drop_bounding(number) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && number > 37 => break,
            Err(error) => {
                return Err(Error::system(format!("drop capability {number}"), error));
            }
        }
    }
    Ok(())
}

/// Makes set-uid files and file capabilities without effect from here on.
pub(crate) fn no_new_privileges() -> Result<(), Error> {
    nix::sys::prctl::set_no_new_privs().tried(|| "set no_new_privs".to_owned())
}

/// Limits of each process in a sandbox (`setrlimit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Open files.
    pub open_files: u64,
    /// Largest file that can be written, in bytes.
    pub file_size: u64,
}

impl Default for ProcessLimits {
    /// 4,096 open files (Go and Rust raise the soft limit to that) and 16 GiB.
    fn default() -> Self {
        Self { open_files: 4096, file_size: 16 << 30 }
    }
}

impl ProcessLimits {
    /// Applies the limits to this process and what it starts. A limit that the
    /// machine sets lower stays as it is.
    pub(crate) fn apply(self) -> Result<(), Error> {
        for (resource, want) in [
            (Resource::RLIMIT_NOFILE, self.open_files),
            (Resource::RLIMIT_FSIZE, self.file_size),
            (Resource::RLIMIT_CORE, 0),
        ] {
            let (_, hard) = nix::sys::resource::getrlimit(resource)
                .tried(|| format!("read the limit {resource:?}"))?;
            let value = want.min(hard);
            setrlimit(resource, value, value).tried(|| format!("limit {resource:?}"))?;
        }
        Ok(())
    }
}

fn drop_bounding(number: u32) -> io::Result<()> {
    // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
    let result =
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `capget` and `capset` version 3, from `linux/capability.h`.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn change_sets(keep: u64) -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads one header and writes two data structures, which
    // is what these pointers point to.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for (index, part) in data.iter_mut().enumerate() {
        let keep = (keep >> (32 * index)) as u32;
        part.effective &= keep;
        part.permitted &= keep;
        part.inheritable &= keep;
    }
    // SAFETY: as above; both structures are only read.
    if unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
