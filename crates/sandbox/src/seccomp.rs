//! The system calls that a command may not make.
//!
//! The sandbox does not rest on this: without capabilities most of these are
//! refused anyway. It takes away the parts of the kernel where mistakes are
//! found again and again, and user namespaces, in which a process would be
//! root over all of them. Calls that are newer than this list are refused too,
//! so that a new kernel opens nothing.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::error::Error;

/// The newest system call that this module was written with (`file_setattr`,
/// Linux 6.17). Numbers from 424 on are the same on all architectures.
const NEWEST: u32 = 469;

/// Calls that are answered as by a kernel that does not have them, so that
/// programs fall back on what is older.
///
/// `clone3` hides its flags behind a pointer, where a filter cannot see them.
const UNKNOWN: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Calls that are not permitted, whatever their arguments.
const FORBIDDEN: &[i64] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    // Files by handle pass by every path.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The kernel's own stores, programs and counters.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    // The machine.
    libc::SYS_acct,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// Flags of `clone` and `unshare` that make a namespace.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
    // CLONE_NEWTIME, which only unshare knows: in clone it is part of a signal.
];

const CLONE_NEWTIME: u64 = 0x80;

/// Kinds of sockets that programs use; all others are drivers of their own.
const FAMILIES: &[libc::c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Puts the filter on this process and all it will start. It cannot be taken
/// off again.
pub(crate) fn apply() -> Result<(), Error> {
    let failed = |error: BackendError| Error::Missing(format!("no system call filter: {error}"));
    for program in [unknown().map_err(failed)?, forbidden().map_err(failed)?] {
        apply_filter(&program).map_err(|error| {
            Error::Missing(format!("cannot filter system calls (this needs seccomp): {error}"))
        })?;
    }
    Ok(())
}

fn unknown() -> Result<BpfProgram, BackendError> {
    let rules = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    let filter = filter(rules, libc::ENOSYS)?;
    Ok([newer().as_slice(), &filter].concat())
}

fn forbidden() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let flag = |flag: u64| {
        let has = SeccompCmpOp::MaskedEq(flag);
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, has, flag)?])
    };
    let flags = || NAMESPACES.iter().map(|flag| u64::from(flag.cast_unsigned()));
    rules.insert(libc::SYS_clone, flags().map(flag).collect::<Result<_, _>>()?);
    let unshare = flags().chain([CLONE_NEWTIME]);
    rules.insert(libc::SYS_unshare, unshare.map(flag).collect::<Result<_, _>>()?);
    let no_family = FAMILIES.iter().map(|family| {
        let family = u64::from(family.cast_unsigned());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
    });
    let no_family = SeccompRule::new(no_family.collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_socket, vec![no_family.clone()]);
    rules.insert(libc::SYS_socketpair, vec![no_family]);
    // Typing into somebody's terminal.
    let requests = [libc::TIOCSTI, libc::TIOCLINUX].into_iter().map(|request| {
        let is = SeccompCmpOp::Eq;
        SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, is, request)?])
    });
    rules.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    #[cfg(target_arch = "x86_64")]
    rules.extend([(libc::SYS_ioperm, Vec::new()), (libc::SYS_iopl, Vec::new())]);
    filter(rules, libc::EPERM)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

/// Answers calls beyond [`NEWEST`] with ENOSYS, those of the x32 interface,
/// which have a high bit set, among them (`linux/seccomp.h`, `linux/filter.h`).
fn newer() -> [sock_filter; 3] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_GREATER: u16 = 0x25;
    const RETURN: u16 = 0x06;
    const RET_ERRNO: u32 = 0x0005_0000;
    let refuse = RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [
        // The number is the first word of what a filter sees.
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_GREATER, jt: 0, jf: 1, k: NEWEST },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
    ]
}
