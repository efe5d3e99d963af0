//! The system calls that are left to a portal that serves: what tokio, SQLite and its threads were seen to make
//! at work, and what the same code makes on musl. Everything else fails with EPERM.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::Error;

/// Those it may make with any arguments.
const ANY: &[&[c_long]] = &[
    // Bytes over what it has open.
    &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fcntl,
    ],
    // Connections: those that come, and the one to the agent, whose socket is a file.
    &[
        libc::SYS_accept4,
        libc::SYS_connect,
        libc::SYS_recvfrom,
        libc::SYS_shutdown,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
    ],
    // Waiting.
    &[
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_ppoll,
        libc::SYS_futex,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_sched_yield,
        libc::SYS_restart_syscall,
    ],
    // Files: landlock and the user say which.
    &[
        libc::SYS_openat,
        libc::SYS_lseek,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getcwd,
        libc::SYS_ftruncate,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_fchmod,
        libc::SYS_unlinkat,
    ],
    // Memory that no code runs from: see `arguments`.
    &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk],
    // Threads, signals to itself and its end.
    &[
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ],
    // Who it is, what time it is, chance.
    &[
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_uname,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
    ],
    ELDERLY,
];

/// The same under the names that only older architectures have.
#[cfg(target_arch = "x86_64")]
const ELDERLY: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const ELDERLY: &[c_long] = &[];

/// Which `ioctl` and `prctl`, whose types differ between C libraries.
const FIONBIO: u64 = 0x5421;
const FIOCLEX: u64 = 0x5451;
const SET_VMA: u64 = 0x5356_4d41;

/// What the courier may in addition, to look names up and to connect.
const REACHING: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
];
/// What the fetcher may besides: a file becomes what it is called when it is whole.
#[cfg(target_arch = "x86_64")]
const RENAMING: &[c_long] = &[libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];
#[cfg(not(target_arch = "x86_64"))]
const RENAMING: &[c_long] = &[libc::SYS_renameat, libc::SYS_renameat2];
const FIONREAD: u64 = 0x541b;

/// Whose calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Serves.
    Portal,
    /// Serves, and reaches the server of its database.
    Replica,
    /// Reaches others.
    Courier,
    /// Reaches others, and keeps what it brought in files.
    Fetcher,
}

/// Takes all others from every thread, and says how many are left.
pub(super) fn restrict(role: Role) -> Result<usize, Error> {
    let rules = rules(role).map_err(seccompiler::Error::from)?;
    let left = rules.len();
    // Its flags are in memory, where no filter can look: without it, threads are made by `clone`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = SeccompFilter::new(
        unknown,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        arch()?,
    );
    apply(unknown)?;
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    apply(SeccompFilter::new(rules, denied, SeccompAction::Allow, arch()?))?;
    Ok(left)
}

fn arch() -> Result<TargetArch, Error> {
    let arch = std::env::consts::ARCH.try_into();
    Ok(arch.map_err(seccompiler::Error::from)?)
}

fn apply(filter: Result<SeccompFilter, BackendError>) -> Result<(), Error> {
    let program: Result<BpfProgram, _> = filter.and_then(TryInto::try_into);
    let program = program.map_err(seccompiler::Error::from)?;
    Ok(apply_filter_all_threads(&program)?)
}

fn rules(role: Role) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, BackendError> {
    let any = |calls: &[c_long]| calls.iter().map(|call| (*call, Vec::new())).collect::<Vec<_>>();
    let mut rules: BTreeMap<_, _> = any(&ANY.concat()).into_iter().collect();
    rules.extend(arguments()?);
    match role {
        Role::Portal => {}
        Role::Replica | Role::Courier => rules.extend(any(REACHING)),
        Role::Fetcher => rules.extend(any(&[REACHING, RENAMING].concat())),
    }
    // The other filter has the last word.
    rules.insert(libc::SYS_clone3, Vec::new());
    Ok(rules)
}

/// Those it may make with these arguments alone; each line is one way.
fn arguments() -> Result<BTreeMap<c_long, Vec<SeccompRule>>, BackendError> {
    let is = |argument, value| condition(argument, SeccompCmpOp::Eq, value);
    let has = |argument, bits: i32, value: i32| {
        let bits = SeccompCmpOp::MaskedEq(u64::from(bits.cast_unsigned()));
        condition(argument, bits, u64::from(value.cast_unsigned()))
    };
    let unix = |call| Ok((call, vec![rule(vec![is(0, libc::AF_UNIX.cast_unsigned().into())?])?]));
    let no_code = |call| Ok((call, vec![rule(vec![has(2, libc::PROT_EXEC, 0)?])?]));
    let one = |argument, values: &[u64]| -> Result<Vec<SeccompRule>, BackendError> {
        values.iter().map(|value| rule(vec![is(argument, *value)?])).collect()
    };
    Ok(BTreeMap::from([
        unix(libc::SYS_socket)?,
        unix(libc::SYS_socketpair)?,
        no_code(libc::SYS_mmap)?,
        no_code(libc::SYS_mprotect)?,
        // Threads, and no processes.
        (libc::SYS_clone, vec![rule(vec![has(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?])?]),
        // To whom it is connected, and to nobody else.
        (libc::SYS_sendto, vec![rule(vec![whole(4, 0)?])?]),
        (libc::SYS_ioctl, one(1, &[FIONBIO, FIOCLEX, FIONREAD])?),
        (libc::SYS_prctl, one(0, &[libc::PR_SET_NAME as u64, libc::PR_GET_NAME as u64, SET_VMA])?),
        // It may ask for its limits.
        (libc::SYS_prlimit64, vec![rule(vec![whole(2, 0)?])?]),
        (libc::SYS_tgkill, one(0, &[std::process::id().into()])?),
    ]))
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// Of an argument that is a pointer.
fn whole(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}
