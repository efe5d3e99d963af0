//! What others may have set up on a host before GeoFilter comes, and what must still be there when it is
//! gone.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::{Namespace, succeed};
use crate::site::WAN;

/// A firewall of the administrator.
const FIREWALL: &str = "
table inet filter {
    chain input {
        type filter hook input priority filter; policy accept;
        ct state established,related accept
        tcp dport 22 counter accept
    }
}";

/// What fail2ban's nftables action sets up, with two bans.
const FAIL2BAN: &str = "
table inet f2b-table {
    set addr-set-asterisk {
        type ipv4_addr
        elements = { 192.0.2.66, 198.51.100.99 }
    }
    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept;
        udp dport { 5060, 5061 } ip saddr @addr-set-asterisk reject
    }
}";

/// Programs of somebody else that let everything go on.
const PROGRAMS: &str = r#"
__attribute__((section("xdp"), used)) int others_xdp(void *ctx) { return 2; }
__attribute__((section("classifier"), used)) int others_tc(void *ctx) { return -1; }
char others_license[] __attribute__((section("license"), used)) = "GPL";
"#;

/// Drops datagrams to a port, of IPv4 without options.
const DROPPING: &str = r#"
struct md { unsigned data, end, meta, rx, queue; };
__attribute__((section("xdp"), used)) int others_xdp(struct md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->end;
	if (data + 38 > end || data[12] != 8 || data[13] || data[14] != 0x45 || data[23] != 17)
		return 2;
	return (data[36] << 8 | data[37]) == PORT ? 1 : 2;
}
char others_license[] __attribute__((section("license"), used)) = "GPL";
"#;

/// A program of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Lets everything go on, by XDP and TC.
    Passing,
    /// Drops datagrams to this port, by XDP.
    Dropping(u16),
}

/// One kind of neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// An nftables ruleset.
    Firewall,
    /// fail2ban's own table.
    Fail2ban,
    /// A clsact qdisc with filters of somebody else.
    Clsact,
    /// An XDP program of somebody else on the interface.
    Xdp,
}

impl Neighbour {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Firewall, Self::Fail2ban, Self::Clsact, Self::Xdp];

    /// Sets it up.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn move_in(self, host: &Namespace) -> Result<()> {
        match self {
            Self::Firewall => load_ruleset(host, FIREWALL),
            Self::Fail2ban => load_ruleset(host, FAIL2BAN),
            Self::Clsact => {
                host.command("tc", &["qdisc", "add", "dev", WAN, "clsact"])?;
                Self::filter_on_clsact(host, 5)
            }
            Self::Xdp => {
                let (_folder, object) = compile(&Others::Passing)?;
                load(host, "ip", &format!("link set dev {WAN} xdp obj {object} sec xdp"))
            }
        }
    }
}

impl Neighbour {
    /// Puts filters of others, with this priority, on a clsact qdisc that is there.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn filter_on_clsact(host: &Namespace, priority: u16) -> Result<()> {
        let (_folder, object) = compile(&Others::Passing)?;
        for direction in ["ingress", "egress"] {
            let words = format!(
                "filter add dev {WAN} {direction} prio {priority} bpf direct-action obj {object} sec classifier"
            );
            load(host, "tc", &words)?;
        }
        Ok(())
    }
}

/// Has `ip` or `tc` load an object of [`compile`]. iproute2 pins beneath the first bpffs that it finds, which could be that of an agent
/// beside, and mounts one where there is none: it has one of its own, in a mount namespace that goes with it.
///
/// # Errors
/// If the tool fails.
pub fn load(host: &Namespace, tool: &str, words: &str) -> Result<()> {
    const ALONE: &str = "mount -t bpf bpf /sys/fs/bpf; exec \"$@\"";
    let alone = ["--mount", "--propagation", "private", "sh", "-ec", ALONE, "sh", tool];
    let words = alone.into_iter().chain(words.split(' ')).collect::<Vec<_>>();
    host.command("unshare", &words).map(drop)
}

/// Compiles programs of others into a folder that goes with the first value.
///
/// # Errors
/// If there is no compiler.
pub fn compile(others: &Others) -> Result<(TempDir, String)> {
    let (programs, port) = match others {
        Others::Passing => (PROGRAMS, 0),
        Others::Dropping(port) => (DROPPING, *port),
    };
    let folder = tempfile::tempdir()?;
    let (source, object) = (folder.path().join("x.c"), folder.path().join("x.o"));
    fs::write(&source, format!("#define PORT {port}\n{programs}"))?;
    let mut clang = Command::new("clang");
    succeed(clang.args(["-target", "bpf", "-O2", "-c"]).arg(&source).arg("-o").arg(&object))?;
    Ok((folder, object.display().to_string()))
}

/// Loads an nftables ruleset in a namespace.
///
/// # Errors
/// If nft refuses it.
pub fn load_ruleset(host: &Namespace, ruleset: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), ruleset)?;
    host.command("nft", &["-f", file.path().to_str().context("the path of the ruleset")?]).map(drop)
}

/// The state of a host as the usual tools print it.
///
/// # Errors
/// If a tool fails.
pub fn snapshot(host: &Namespace) -> Result<String> {
    let tc = |words: &[&str]| host.command("tc", words);
    Ok([
        host.ip("-d link show")?,
        host.ip("addr show")?,
        tc(&["qdisc", "show"])?,
        tc(&["filter", "show", "dev", WAN, "ingress"])?,
        tc(&["filter", "show", "dev", WAN, "egress"])?,
        host.command("nft", &["-s", "list", "ruleset"])?,
        fs::read_to_string("/proc/self/mounts")?
            .lines()
            // The only kind of ours; what others mount on this machine comes and goes.
            .filter(|mount| mount.contains(" bpf ") && !mount.starts_with("geofilter "))
            .fold(String::new(), |lines, line| lines + line + "\n"),
    ]
    .join("\n"))
}
