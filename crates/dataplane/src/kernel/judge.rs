//! [`Judge`]: the loaded programs on a frame that no wire brought.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::Ebpf;
use aya::programs::{Program, ProgramError, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use geofilter_core::desired::AttachmentKind;
use geofilter_core::policy::Verdict;

use crate::Error;

const XDP_DROP: u32 = 1;
const TC_ACT_SHOT: u32 = 2;

/// A handle on the loaded programs. It judges through `BPF_PROG_TEST_RUN`, in the kernel and by the
/// policy in force, from any thread; the frame counts as arrived on the loopback interface.
pub struct Judge {
    xdp: Xdp,
    tc: SchedClassifier,
    tracker: SchedClassifier,
}

impl Judge {
    /// Loads what no interface has needed yet.
    pub(crate) fn new(programs: &mut Ebpf) -> Result<Self, ProgramError> {
        let mut info = |name| {
            let program = programs.program_mut(name).ok_or(ProgramError::NotLoaded)?;
            match program {
                Program::Xdp(program) if program.fd().is_err() => program.load()?,
                Program::SchedClassifier(program) if program.fd().is_err() => program.load()?,
                _ => {}
            }
            program.info()
        };
        let name: Cow<'static, str> = "judge".into();
        let xdp = info("gf_xdp")?;
        let tc = info("gf_tc")?;
        let tracker = info("gf_track_tc")?;
        Ok(Self {
            xdp: Xdp::from_program_info(xdp, name.clone(), XdpAttachType::Interface)?,
            tc: SchedClassifier::from_program_info(tc, name.clone())?,
            tracker: SchedClassifier::from_program_info(tracker, name)?,
        })
    }

    /// Judges a frame `repeat` times; the verdict is the last one's.
    ///
    /// # Errors
    /// [`Error::Load`] if the kernel can't run the frame.
    pub fn run(&self, kind: AttachmentKind, frame: &[u8], repeat: u32) -> Result<Verdict, Error> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        let dropped = match kind {
            AttachmentKind::XdpNative | AttachmentKind::XdpGeneric => {
                self.xdp.test_run(options).map(|result| result.return_value == XDP_DROP)
            }
            AttachmentKind::Tc | AttachmentKind::Nft | AttachmentKind::Memory => {
                self.tc.test_run(options).map(|result| result.return_value == TC_ACT_SHOT)
            }
        };
        let dropped = dropped.map_err(|source| Error::Load(source.into()))?;
        Ok(if dropped { Verdict::Drop } else { Verdict::Pass })
    }

    /// Lets the tracker see a frame that leaves.
    ///
    /// # Errors
    /// [`Error::Load`] if the kernel can't run the frame.
    pub fn track(&self, frame: &[u8]) -> Result<(), Error> {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        self.tracker.test_run(options).map(drop).map_err(|source| Error::Load(source.into()))
    }

    /// How long the programs of this kind ran, all in all, and how often; counted while [`count_run_time`]
    /// asks for it.
    ///
    /// # Errors
    /// [`Error::Load`] if the kernel does not say.
    pub fn run_time(&self, kind: AttachmentKind) -> Result<(Duration, u64), Error> {
        let info = match kind {
            AttachmentKind::XdpNative | AttachmentKind::XdpGeneric => self.xdp.info(),
            AttachmentKind::Tc | AttachmentKind::Nft | AttachmentKind::Memory => self.tc.info(),
        };
        let info = info.map_err(|source| Error::Load(source.into()))?;
        Ok((info.run_time(), info.run_count()))
    }
}

/// Has the kernel count how long programs run, until the descriptor is closed.
///
/// # Errors
/// [`Error::Load`] if it refuses.
pub fn count_run_time() -> Result<OwnedFd, Error> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(|source| Error::Load(source.into()))
}
