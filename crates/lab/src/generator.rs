//! [`Generator`]: sends frames from many sources as fast as the kernel makes them, for benchmarks: live frames
//! of `BPF_PROG_TEST_RUN`, redirected onto a wire without ever being a socket buffer. A [`Meter`] says what the
//! receiver spends on them, and [`DropAll`] is the cheapest receiver there is.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{RawTracePoint, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, Pod};

use crate::gun::frame;
use crate::namespace::Namespace;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generator.bpf.o"));

/// Sources a generator goes through, over and over.
pub const SOURCES: usize = 1 << 16;

/// Frames the kernel redirects before it lets the wire know.
const BATCH: u32 = 64;
/// Frames a system call sends.
const CALL: u32 = 1 << 16;

/// A table of the programs.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Sources<T>([T; SOURCES]);

#[expect(unsafe_code, reason = "plain integers in C layout")]
unsafe impl<T: Pod> Pod for Sources<T> {}

/// Sends the same guess from many sources.
pub struct Generator<'a> {
    from: &'a Namespace,
    programs: Ebpf,
    program: &'static str,
    template: Vec<u8>,
}

impl<'a> Generator<'a> {
    /// Prepares to send from an interface, frames to the PBX of a site. Sources are of one family, IPv6 ones
    /// differ in their upper 64 bits; if there are fewer than [`SOURCES`], they are repeated.
    ///
    /// # Errors
    /// If the kernel refuses: it needs root.
    ///
    /// # Panics
    /// Without a source.
    pub fn new(from: &'a Namespace, interface: &str, sources: &[IpAddr]) -> Result<Self> {
        let mut programs = Ebpf::load(OBJECT)?;
        let index = from.interface_index(interface)?;
        array::<u32>(&mut programs, "interface")?.set(0, index, 0)?;
        let program = match sources[0] {
            IpAddr::V4(_) => {
                fill(&mut programs, "sources_v4", sources, |source| match source {
                    IpAddr::V4(source) => u32::from_ne_bytes(source.octets()),
                    IpAddr::V6(_) => 0,
                })?;
                "fire_v4"
            }
            IpAddr::V6(_) => {
                fill(&mut programs, "sources_v6", sources, |source| match source {
                    IpAddr::V4(_) => 0,
                    IpAddr::V6(source) => u128::from_ne_bytes(source.octets()) as u64,
                })?;
                "fire_v6"
            }
        };
        load(&mut programs, program)?;
        Ok(Self { from, programs, program, template: frame(sources[0]) })
    }

    /// Sends for this long.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn run(&mut self, time: Duration) -> Result<()> {
        let program: &Xdp =
            self.programs.program(self.program).context("no program")?.try_into()?;
        let template = &self.template;
        self.from.inside(move || {
            let began = Instant::now();
            while began.elapsed() < time {
                program.test_run(TestRunOptions {
                    data_in: Some(template),
                    repeat: CALL,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                })?;
            }
            Ok(())
        })?
    }
}

/// Drops every frame of an interface at once, in XDP.
pub struct DropAll(#[expect(dead_code, reason = "holds the program on the interface")] Ebpf);

impl DropAll {
    /// From now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        let mut programs = Ebpf::load(OBJECT)?;
        let program = load(&mut programs, "drop")?;
        namespace.inside(|| program.attach(interface, XdpMode::Driver))??;
        Ok(Self(programs))
    }
}

/// Measures the time the kernel spends on receiving packets.
pub struct Meter(Ebpf);

/// `struct receiving` of the programs.
#[derive(Clone, Copy)]
#[repr(C)]
struct Receiving {
    since: u64,
    spent: u64,
}

#[expect(unsafe_code, reason = "plain integers in C layout, without padding")]
unsafe impl Pod for Receiving {}

impl Meter {
    /// From now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn start() -> Result<Self> {
        let mut programs = Ebpf::load(OBJECT)?;
        for (name, tracepoint) in
            [("begin_receiving", "softirq_entry"), ("end_receiving", "softirq_exit")]
        {
            let program = programs.program_mut(name).context("no program")?;
            let program: &mut RawTracePoint = program.try_into()?;
            program.load()?;
            program.attach(tracepoint)?;
        }
        Ok(Self(programs))
    }

    /// The time a CPU has spent on it.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn spent(&self, cpu: usize) -> Result<Duration> {
        let map = self.0.map("receiving").context("no map")?;
        let all = PerCpuArray::<_, Receiving>::try_from(map)?.get(&0, 0)?;
        let spent = all.get(cpu).context("no such CPU")?.spent;
        Ok(Duration::from_nanos(spent))
    }
}

fn load<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = programs.program_mut(name).context("no program")?.try_into()?;
    program.load()?;
    Ok(program)
}

fn fill<T: Pod + Default>(
    programs: &mut Ebpf,
    name: &str,
    sources: &[IpAddr],
    number: impl Fn(IpAddr) -> T,
) -> Result<()> {
    let mut table = Box::new(Sources([T::default(); SOURCES]));
    for (place, source) in table.0.iter_mut().zip(sources.iter().cycle()) {
        *place = number(*source);
    }
    Ok(array::<Sources<T>>(programs, name)?.set(0, *table, 0)?)
}

fn array<'a, T: Pod>(programs: &'a mut Ebpf, name: &str) -> Result<Array<&'a mut MapData, T>> {
    Ok(Array::try_from(programs.map_mut(name).context("no map")?)?)
}
