//! The machine and its kernel.

use super::Severity::{Note, Problem, Warning};
use super::{Check, Code, Complaint, Facts, Outcome};

/// Less memory than this is little, in KiB: the table and its successor take some 20 MB.
const LITTLE: u64 = 128 << 10;

pub(super) const CHECKS: &[Check] = &[
    (Code::KernelLacks, kernel_lacks),
    (Code::CapabilitiesMissing, capabilities_missing),
    (Code::JitOff, jit_off),
    (Code::BpffsMissing, bpffs_missing),
    (Code::LittleMemory, little_memory),
    (Code::IsolatedCpus, isolated_cpus),
    (Code::ClockNotSynchronised, clock_not_synchronised),
    (Code::NotStartedAtBoot, not_started_at_boot),
];

fn kernel_lacks(facts: &Facts) -> Outcome {
    let lacking = facts.machine.lacking.clone()?;
    Complaint::if_so(
        !lacking.is_empty(),
        Problem,
        format!("the kernel can't do what the filter needs: {}", lacking.join(", ")),
        "run Linux 5.10 or newer with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF; in a container, run GeoFilter on its host",
    )
}

fn capabilities_missing(facts: &Facts) -> Outcome {
    const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38)];
    const SYS_ADMIN: u32 = 21;
    let held = facts.machine.capabilities.clone()?;
    let has = |bit: u32| held >> bit & 1 == 1;
    // The kernel takes CAP_SYS_ADMIN for the two that were split off from it.
    let stands_in = |name: &str| name != "CAP_NET_ADMIN" && has(SYS_ADMIN);
    let missing = NEEDED.iter().filter(|(name, bit)| !has(*bit) && !stands_in(name));
    let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
    Complaint::if_so(
        !missing.is_empty(),
        Problem,
        format!("the agent lacks {}: the kernel refuses its programs", missing.join(", ")),
        "give it CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (AmbientCapabilities= and CapabilityBoundingSet= of its unit; the options of the container)",
    )
}

fn jit_off(facts: &Facts) -> Outcome {
    Complaint::if_so(
        facts.machine.jit.clone()? == 0,
        Warning,
        "net.core.bpf_jit_enable is 0: the kernel interprets the filter, which makes every packet cost several times as much",
        "sysctl net.core.bpf_jit_enable=1, and the same in /etc/sysctl.d",
    )
}

fn bpffs_missing(facts: &Facts) -> Outcome {
    Complaint::if_so(
        !facts.machine.bpffs.clone()?,
        Note,
        "no bpffs is mounted at /sys/fs/bpf: the agent mounts one of its own, for which it needs CAP_SYS_ADMIN",
        "mount -t bpf bpf /sys/fs/bpf, and the same in /etc/fstab",
    )
}

fn little_memory(facts: &Facts) -> Outcome {
    let memory = facts.machine.memory.clone()?;
    Complaint::if_so(
        memory < LITTLE,
        Warning,
        format!(
            "this machine has {} MB of memory: while a new table of countries is built there may be too little of it",
            memory >> 10
        ),
        "give it 128 MB or more, or some swap",
    )
}

fn isolated_cpus(facts: &Facts) -> Outcome {
    let isolated = facts.machine.isolated.clone()?;
    Complaint::if_so(
        !isolated.is_empty(),
        Note,
        format!(
            "the CPUs {isolated} are isolated or run without ticks (isolcpus, nohz_full): the wait for packets in flight between two changes of policy runs on each of them in turn, and takes longer"
        ),
        "steer the interrupts of the network card to the other CPUs, and expect `allow` and `block` to take longer",
    )
}

fn clock_not_synchronised(facts: &Facts) -> Outcome {
    Complaint::if_so(
        !facts.machine.synchronised.clone()?,
        Warning,
        "the kernel says that nothing keeps its clock right: exemptions, bans and countries for a time begin and end by it",
        "run an NTP client, such as systemd-timesyncd or chrony; in a container, see to the clock of its host",
    )
}

fn not_started_at_boot(facts: &Facts) -> Outcome {
    Complaint::if_so(
        !facts.machine.starts_at_boot.clone()?,
        Warning,
        "nothing starts the agent with this machine: after a reboot everything passes until somebody starts it",
        "enable a unit that runs `geofilter agent` (systemctl enable geofilter)",
    )
}
