//! The apply machine against a host that fails, crashes, restarts and reboots at any step: it ends in the
//! last confirmed policy, or in a pending one whose deadline runs in the kernel.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use geofilter_core::apply::{
    Command, Effect, Input, Interim, Machine, Outcome, Refusal, Saved, Stance, nothing_selected,
    state,
};
use geofilter_core::country::{CountryId, CountrySet};
use geofilter_core::desired::{
    Action, Attachment, AttachmentKind, Bank, BootTime, Desired, Generation, Observed, State,
};
use geofilter_core::policy::{Mode, Policy};
use proptest::prelude::*;

fn policy(country: u8) -> Policy {
    let country = CountryId::new(country).unwrap();
    Policy::new(Mode::AllowSelected, CountrySet::from_iter([country]))
}

/// What happens to one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fails,
    CrashesBefore,
    CrashesAfter,
    /// It is done, but only after this time.
    TakesLong(u64),
}

/// A disk, a kernel and a clock.
#[derive(Debug, Default)]
struct Host {
    disk: Option<Saved>,
    /// Nothing can be written.
    full: bool,
    /// What is kept, until a reboot, of the numbers that could not be written.
    last: Generation,
    kernel: Option<Desired>,
    now: u64,
    /// Every bank the kernel ever held.
    banks: BTreeMap<Generation, (Action, Policy)>,
}

struct Crashed;

impl Host {
    fn now(&self) -> BootTime {
        BootTime(self.now)
    }

    fn observed(&self) -> Option<Observed> {
        self.kernel.as_ref().map(|desired| Observed {
            warnings: Vec::new(),
            attachments: vec![Attachment {
                interface: "wan0".to_owned(),
                kind: AttachmentKind::Memory,
            }],
            active: (desired.active.generation, desired.active.action),
            fallback: desired.fallback.as_ref().map(|fallback| {
                (fallback.bank.generation, fallback.bank.action, fallback.deadline)
            }),
        })
    }

    fn start(&self) -> (Machine, Effect) {
        Machine::start(self.disk.clone(), self.last, self.observed().as_ref(), self.now())
    }

    /// A start without faults.
    fn restart(&mut self) -> Machine {
        let (mut machine, effect) = self.start();
        let answer = self.drive(&mut machine, effect, None);
        assert!(matches!(answer, Ok(Ok(_))));
        machine
    }

    fn command(&mut self, machine: &mut Machine, command: Command) -> Result<Outcome, Refusal> {
        let effect = machine.handle(Input::Command(command, self.now()));
        self.drive(machine, effect, None).unwrap_or_else(|_| panic!("crashed without a fault"))
    }

    fn drive(
        &mut self,
        machine: &mut Machine,
        mut effect: Effect,
        fault: Option<(usize, Fault)>,
    ) -> Result<Result<Outcome, Refusal>, Crashed> {
        for step in 0.. {
            let fault = fault.filter(|(at, _)| *at == step).map(|(_, fault)| fault);
            if let Effect::Answer(answer) = effect {
                return Ok(answer);
            }
            let fails = match &effect {
                Effect::Persist(_) => self.full || fault == Some(Fault::Fails),
                _ => fault == Some(Fault::Fails),
            };
            if let Some(Fault::TakesLong(time)) = fault {
                self.now += time;
            }
            let result = match fault {
                Some(Fault::CrashesBefore) => return Err(Crashed),
                _ if fails => {
                    self.fail(effect);
                    Err("fault".to_owned())
                }
                _ => {
                    self.carry_out(effect);
                    Ok(())
                }
            };
            if fault == Some(Fault::CrashesAfter) {
                return Err(Crashed);
            }
            effect = machine.handle(Input::Done(result));
        }
        unreachable!()
    }

    /// What there is of an effect that failed.
    fn fail(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(saved) => self.last = self.last.max(saved.last),
            // Before anything is detached everything is let through.
            Effect::Detach => {
                if let Some(desired) = &mut self.kernel {
                    desired.active.action = Action::Pass;
                    desired.active.generation = desired.active.generation.next();
                    desired.fallback = None;
                }
            }
            Effect::Attach(_) | Effect::Apply(_) | Effect::Answer(_) => {}
        }
    }

    /// The kernel forgets, and counts time anew. What was written may have no second meaning ever.
    fn reboot(self) -> Self {
        let Self { disk, full, mut banks, .. } = self;
        let last = disk.as_ref().map(|saved| saved.last).unwrap_or_default();
        banks.retain(|generation, _| *generation <= last);
        Self { disk, full, banks, ..Self::default() }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(saved) => self.disk = Some(saved),
            Effect::Attach(desired) => self.hold(desired),
            Effect::Apply(desired) => {
                assert!(self.kernel.is_some(), "applied to nothing");
                self.hold(desired);
            }
            Effect::Detach => self.kernel = None,
            Effect::Answer(_) => {}
        }
    }

    fn hold(&mut self, desired: Desired) {
        let fallback = desired.fallback.as_ref().map(|fallback| &fallback.bank);
        for bank in fallback.into_iter().chain([&desired.active]) {
            let Bank { generation, action, policy } = bank;
            let highest = self.banks.keys().next_back().copied().unwrap_or_default();
            let known = self.banks.entry(*generation).or_insert_with(|| {
                let off = *action == Action::Pass;
                assert!(*generation > highest || off, "{generation:?} after {highest:?}");
                (*action, Policy::clone(policy))
            });
            assert_eq!(*known, (*action, Policy::clone(policy)), "{generation:?} has two meanings");
        }
        self.kernel = Some(desired);
    }

    /// What the kernel does with packets now.
    fn does(&self) -> Does {
        let Some(desired) = &self.kernel else { return Does::Nothing };
        let bank = match &desired.fallback {
            Some(fallback) if self.now() >= fallback.deadline => &fallback.bank,
            Some(_) | None => &desired.active,
        };
        match bank.action {
            Action::Pass => Does::Nothing,
            Action::Observe => Does::Observe(Policy::clone(&bank.policy)),
            Action::Enforce => Does::Enforce(Policy::clone(&bank.policy)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Does {
    Nothing,
    Observe(Policy),
    Enforce(Policy),
}

/// What the operator has been told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    stance: Stance,
    policy: Policy,
    /// Something that ends by itself: what it does, and when it ends.
    interim: Option<(Does, u64)>,
    /// Off was begun and did not finish.
    half_off: bool,
}

impl Told {
    fn new() -> Self {
        Self { stance: Stance::Off, policy: nothing_selected(), interim: None, half_off: false }
    }

    fn settled(&self) -> Self {
        Self { interim: None, half_off: false, ..self.clone() }
    }

    fn half_off(&self) -> Self {
        Self { interim: None, half_off: true, ..self.clone() }
    }

    fn off(&self) -> Self {
        Self { stance: Stance::Off, ..self.settled() }
    }

    /// What of it is left at this time.
    fn at(&self, now: u64) -> Self {
        match self.interim {
            Some((_, deadline)) if now >= deadline => self.settled(),
            Some(_) | None => self.clone(),
        }
    }

    /// What the host may come back with after it was killed.
    fn restarted(&self) -> Self {
        if self.half_off { self.off() } else { self.clone() }
    }

    /// What the disk may bring back of it.
    fn written(&self) -> [Self; 2] {
        [self.restarted().settled(), self.settled()]
    }

    fn after(&self, command: &Command, now: u64) -> Self {
        let mut told = self.settled();
        match command {
            Command::Enforce { policy, confirm_within: None } => {
                (told.stance, told.policy) = (Stance::Enforce, policy.clone());
            }
            Command::Enforce { policy, confirm_within: Some(time) } => {
                told.interim = Some((Does::Enforce(policy.clone()), now + time));
            }
            Command::Confirm => {
                let Some((Does::Enforce(policy), _)) = &self.interim else {
                    panic!("confirmed nothing")
                };
                (told.stance, told.policy) = (Stance::Enforce, policy.clone());
            }
            Command::Pause(time) => told.interim = Some((Does::Nothing, now + time)),
            Command::Revert | Command::Resume => {}
            Command::Observe => told.stance = Stance::Observe,
            Command::Off => told.stance = Stance::Off,
        }
        told
    }

    fn does(&self, now: u64) -> Does {
        match (&self.interim, self.stance) {
            _ if self.half_off => Does::Nothing,
            (Some((does, deadline)), _) if now < *deadline => does.clone(),
            (_, Stance::Off) => Does::Nothing,
            (_, Stance::Observe) => Does::Observe(self.policy.clone()),
            (_, Stance::Enforce) => Does::Enforce(self.policy.clone()),
        }
    }

    /// Whether the kernel does this, now and after every deadline, with nobody alive.
    fn is_what(&self, host: &Host) -> bool {
        let deadline = self.interim.as_ref().map(|(_, deadline)| *deadline);
        let times = [Some(host.now), deadline.map(|at| at - 1), deadline, Some(u64::MAX)];
        times.into_iter().flatten().filter(|at| *at >= host.now).all(|now| {
            let kernel = host.kernel.clone();
            let then = Host { kernel, now, ..Host::default() };
            then.does() == self.does(now)
        })
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Command(Command, Option<(usize, Fault)>),
    Tick(Option<(usize, Fault)>),
    Wait(u64),
    Disk {
        full: bool,
    },
    /// Killed, and started again; the first start may come to nothing.
    Kill(Option<(usize, Fault)>),
    Reboot,
}

fn happening() -> impl Strategy<Value = Happening> {
    let time = 1..20_u64;
    let command = prop_oneof![
        3 => (1..6_u8, proptest::option::of(time.clone())).prop_map(|(country, confirm_within)| {
            Command::Enforce { policy: policy(country), confirm_within }
        }),
        2 => Just(Command::Confirm),
        1 => Just(Command::Revert),
        1 => Just(Command::Observe),
        2 => time.clone().prop_map(Command::Pause),
        1 => Just(Command::Resume),
        1 => Just(Command::Off),
    ];
    let kind = prop_oneof![
        Just(Fault::Fails),
        Just(Fault::CrashesBefore),
        Just(Fault::CrashesAfter),
        time.clone().prop_map(Fault::TakesLong),
    ];
    let fault = proptest::option::weighted(0.3, (0..4_usize, kind));
    // The clock jumps when the machine was suspended.
    let wait = prop_oneof![3 => time, 1 => Just(1 << 50)];
    prop_oneof![
        8 => (command, fault.clone()).prop_map(|(command, fault)| Happening::Command(command, fault)),
        2 => fault.clone().prop_map(Happening::Tick),
        3 => wait.prop_map(Happening::Wait),
        1 => any::<bool>().prop_map(|full| Happening::Disk { full }),
        1 => fault.prop_map(Happening::Kill),
        1 => Just(Happening::Reboot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_order_of_events_ends_confirmed_or_pending(
        happenings in proptest::collection::vec(happening(), 1..40)
    ) {
        // What was never written is lost, which has a test of its own.
        let mut host = Host { disk: Some(Saved::default()), ..Host::default() };
        let mut machine = host.restart();
        let mut told = Told::new();
        // What the disk may bring back: what was told since it was last known to be written.
        let mut written = vec![told.clone()];
        for happening in happenings {
            // What the host may come back with, most wanted first.
            let mut possible = Vec::new();
            match happening {
                Happening::Command(command, fault) => {
                    let now = host.now;
                    let after = |told: &Told| told.after(&command, now);
                    let effect = machine.handle(Input::Command(command.clone(), host.now()));
                    match host.drive(&mut machine, effect, fault) {
                        Ok(Ok(_)) => told = after(&told),
                        Ok(Err(Refusal::NotDetached(_))) => told = told.half_off(),
                        Ok(Err(_)) => {}
                        Err(Crashed) => {
                            let dead = [told.clone(), after(&told)];
                            let now = host.now;
                            prop_assert!(dead.iter().any(|told| told.at(now).is_what(&host)));
                            machine = host.restart();
                            // Only a command that the machine agreed to can crash on its way.
                            possible = vec![told.restarted(), told.settled(), after(&told)];
                        }
                    }
                }
                Happening::Tick(fault) => {
                    let effect = machine.handle(Input::Tick(host.now()));
                    match host.drive(&mut machine, effect, fault) {
                        Ok(Ok(_)) => {}
                        // Off is what it goes back to.
                        Ok(Err(Refusal::NotDetached(_))) => told = told.half_off(),
                        Ok(Err(_)) => {}
                        Err(Crashed) => {
                            prop_assert!(told.at(host.now).is_what(&host));
                            machine = host.restart();
                            possible.push(told.restarted());
                        }
                    }
                }
                Happening::Wait(time) => host.now += time,
                Happening::Disk { full } => host.full = full,
                Happening::Kill(fault) => {
                    let (mut next, effect) = host.start();
                    machine = match host.drive(&mut next, effect, fault) {
                        Ok(Ok(_)) => next,
                        // No agent came of it: the kernel alone does what it should.
                        Ok(Err(_)) | Err(Crashed) => {
                            let now = host.now;
                            let may = [told.clone(), told.settled(), told.restarted()].into_iter();
                            let mut may = may.chain(written.iter().flat_map(Told::written));
                            prop_assert!(may.any(|told| told.at(now).is_what(&host)));
                            host.restart()
                        }
                    };
                    possible.extend([told.restarted(), told.settled()]);
                }
                Happening::Reboot => {
                    host = host.reboot();
                    machine = host.restart();
                    possible.extend([told.settled().restarted(), told.restarted().settled()]);
                }
            }
            if !possible.is_empty() {
                possible.extend(written.iter().rev().flat_map(Told::written));
                told = possible
                    .into_iter()
                    .map(|told| told.at(host.now))
                    .find(|told| {
                        told.is_what(&host)
                            && told.interim.is_some()
 == machine.deadline().is_some_and(|deadline| deadline > host.now())
                            && (told.interim.is_some()
                                || told.policy == machine.current(host.now()).policy)
                    })
                    .expect("before, after, or what was written");
            }
            told = told.at(host.now);
            prop_assert!(told.is_what(&host), "told {told:?}, host {host:?}");
            if !machine.unsaved() {
                written.clear();
            }
            written.push(told.clone());
            // Nothing else brings back a lost policy.
            prop_assert!(!machine.policy_lost());
        }
    }
}

const SECOND: u64 = 1_000_000_000;

fn enforce(country: u8, confirm_within: Option<u64>) -> Command {
    Command::Enforce { policy: policy(country), confirm_within }
}

#[test]
fn a_first_start_touches_nothing() {
    let host = Host::default();
    let (machine, effect) = host.start();
    assert_eq!(effect, Effect::Answer(Ok(Outcome::default())));
    assert!(!machine.attached());
    assert_eq!(state(None, host.now()), State::Off);
}

#[test]
fn a_confirmed_policy_keeps_its_generation_over_restart_and_reboot() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    let before = host.kernel.clone();
    host.restart();
    assert_eq!(host.kernel, before);
    host.kernel = None;
    host.restart();
    assert_eq!(host.kernel, before);
}

#[test]
fn confirming_is_refused_at_the_deadline() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    host.command(&mut machine, enforce(2, Some(SECOND))).unwrap();
    assert_eq!(state(host.observed().as_ref(), host.now()), State::Pending);
    host.now += SECOND;
    assert_eq!(host.command(&mut machine, Command::Confirm), Err(Refusal::TooLate));
    assert_eq!(host.does(), Does::Enforce(policy(1)));
    assert_eq!(machine.current(host.now()).policy, policy(1));
    let effect = machine.handle(Input::Tick(host.now()));
    assert!(matches!(host.drive(&mut machine, effect, None), Ok(Ok(_))));
    assert_eq!(host.command(&mut machine, Command::Confirm), Err(Refusal::NothingPending));
    assert_eq!(machine.deadline(), None);
}

#[test]
fn confirming_before_the_deadline_keeps_the_generation() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, Some(SECOND))).unwrap();
    let pending = machine.generation(host.now());
    host.now += SECOND - 1;
    host.command(&mut machine, Command::Confirm).unwrap();
    host.now += SECOND;
    assert_eq!((host.does(), machine.generation(host.now())), (Does::Enforce(policy(1)), pending));
}

#[test]
fn a_second_change_keeps_the_fallback_and_says_so() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    host.command(&mut machine, enforce(2, Some(SECOND))).unwrap();
    let first = machine.generation(host.now());
    let outcome = host.command(&mut machine, enforce(3, Some(SECOND))).unwrap();
    assert_eq!(outcome.replaced, Some(first));
    let fallback = host.kernel.clone().unwrap().fallback.unwrap();
    assert_eq!(*fallback.bank.policy, policy(1));
}

#[test]
fn a_failed_apply_leaves_everything_and_nothing_pending() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    let before = host.kernel.clone();
    let effect = machine.handle(Input::Command(enforce(2, Some(SECOND)), host.now()));
    let answer = host.drive(&mut machine, effect, Some((1, Fault::Fails)));
    assert!(matches!(answer, Ok(Err(Refusal::NotApplied(_)))));
    assert_eq!((host.kernel.clone(), machine.deadline()), (before, None));
    assert_eq!(host.disk.as_ref().unwrap().interim, None);
    // The kernel may have seen the number that failed.
    host.command(&mut machine, enforce(3, None)).unwrap();
    assert_eq!(machine.generation(host.now()), Generation(3));
}

#[test]
fn a_full_disk_stops_a_change_before_the_kernel() {
    let mut host = Host::default();
    let mut machine = host.restart();
    let effect = machine.handle(Input::Command(enforce(1, None), host.now()));
    let answer = host.drive(&mut machine, effect, Some((0, Fault::Fails)));
    assert!(matches!(answer, Ok(Err(Refusal::NotSaved(_)))));
    assert_eq!(host.kernel, None);
}

#[test]
fn a_full_disk_stops_nobody_from_letting_more_through() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    host.command(&mut machine, enforce(2, Some(SECOND))).unwrap();
    host.full = true;
    let steps = [
        (Command::Revert, Does::Enforce(policy(1))),
        (Command::Pause(SECOND), Does::Nothing),
        (Command::Resume, Does::Enforce(policy(1))),
        (Command::Observe, Does::Observe(policy(1))),
        (Command::Off, Does::Nothing),
    ];
    for (command, does) in steps {
        let outcome = host.command(&mut machine, command.clone()).unwrap();
        assert!(outcome.unsaved.is_some() && machine.unsaved(), "{command:?}");
        assert_eq!(host.does(), does, "{command:?}");
        let refused = host.command(&mut machine, enforce(3, None));
        assert!(matches!(refused, Err(Refusal::NotSaved(_))), "{refused:?}");
    }
    let handed_out = machine.generation(host.now());
    // Killed now, it goes back to what was written, and counts on from where it was.
    let mut machine = host.restart();
    assert_eq!(host.does(), Does::Enforce(policy(1)));
    host.full = false;
    host.command(&mut machine, enforce(3, None)).unwrap();
    assert!(machine.generation(host.now()) > handed_out);
    assert!(!machine.unsaved());
}

#[test]
fn a_full_disk_does_not_keep_an_agent_from_starting() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    host.command(&mut machine, enforce(2, Some(SECOND))).unwrap();
    host.kernel = None;
    host.full = true;
    let machine = host.restart();
    assert!(machine.unsaved() && machine.attached());
    assert_eq!(host.does(), Does::Enforce(policy(1)));
}

#[test]
fn what_could_not_be_saved_is_said_and_tried_again() {
    let mut host = Host::default();
    let mut machine = host.restart();
    let effect = machine.handle(Input::Command(enforce(1, None), host.now()));
    let Ok(Ok(outcome)) = host.drive(&mut machine, effect, Some((2, Fault::Fails))) else {
        panic!("not in force")
    };
    assert!(outcome.unsaved.is_some() && machine.unsaved());
    let effect = machine.handle(Input::Tick(host.now()));
    assert!(matches!(host.drive(&mut machine, effect, None), Ok(Ok(_))));
    assert!(!machine.unsaved());
    assert_eq!(host.disk.unwrap().confirmed.policy, policy(1));
}

#[test]
fn a_pause_ends_by_itself_and_is_taken_over_by_a_new_agent() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    assert_eq!(machine.dropping(host.now()), Some(&policy(1)));
    host.command(&mut machine, Command::Pause(SECOND)).unwrap();
    let machine = host.restart();
    assert_eq!(machine.deadline(), Some(BootTime(SECOND)));
    assert_eq!(machine.dropping(host.now()), None, "whoever comes meanwhile is let in");
    assert_eq!(machine.dropping(BootTime(SECOND)), Some(&policy(1)));
    assert_eq!(state(host.observed().as_ref(), host.now()), State::Paused);
    host.now += SECOND;
    assert_eq!(host.does(), Does::Enforce(policy(1)));
    assert_eq!(state(host.observed().as_ref(), host.now()), State::Enforcing);
    assert_eq!(host.restart().deadline(), None);
}

#[test]
fn there_is_nothing_to_pause_resume_or_revert() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, Command::Observe).unwrap();
    let pause = host.command(&mut machine, Command::Pause(SECOND));
    assert_eq!(pause, Err(Refusal::NothingToPause));
    assert_eq!(host.command(&mut machine, Command::Resume), Err(Refusal::NotPaused));
    assert_eq!(host.command(&mut machine, Command::Revert), Err(Refusal::NothingPending));
}

#[test]
fn a_lost_state_leaves_what_the_kernel_holds() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    let held = host.kernel.clone();
    host.disk = None;
    let mut machine = host.restart();
    assert!(machine.policy_lost() && !machine.attached());
    assert_eq!(host.kernel, held);
    let refused = host.command(&mut machine, Command::Pause(SECOND));
    assert_eq!(refused, Err(Refusal::PolicyLost));
    let effect = machine.handle(Input::Command(enforce(2, None), host.now()));
    assert!(matches!(host.drive(&mut machine, effect, Some((0, Fault::Fails))), Ok(Err(_))));
    assert_eq!((&host.kernel, &host.disk), (&held, &None), "what stands in for it is not saved");
    host.command(&mut machine, enforce(2, None)).unwrap();
    assert!(!machine.policy_lost());
    assert_eq!(host.does(), Does::Enforce(policy(2)));
    assert!(machine.generation(host.now()) > held.unwrap().active.generation);
}

#[test]
fn what_a_failed_off_left_is_not_taken_for_a_confirmed_change() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, Command::Observe).unwrap();
    host.command(&mut machine, enforce(1, Some(SECOND))).unwrap();
    // The disk keeps the pending change, the kernel lets everything pass under its number.
    host.full = true;
    let mut host = host.reboot();
    let mut machine = host.restart();
    let effect = machine.handle(Input::Command(Command::Off, host.now()));
    let answer = host.drive(&mut machine, effect, Some((1, Fault::Fails)));
    assert!(matches!(answer, Ok(Err(Refusal::NotDetached(_)))));
    host.restart();
    assert_eq!(host.does(), Does::Observe(nothing_selected()));
}

#[test]
fn an_off_that_failed_half_way_is_finished_by_the_next_start() {
    let mut host = Host::default();
    let mut machine = host.restart();
    host.command(&mut machine, enforce(1, None)).unwrap();
    let mut effect = machine.handle(Input::Command(Command::Off, host.now()));
    while effect != Effect::Detach {
        host.carry_out(effect);
        effect = machine.handle(Input::Done(Ok(())));
    }
    let answer = machine.handle(Input::Done(Err("a pin is busy".to_owned())));
    assert!(matches!(answer, Effect::Answer(Err(Refusal::NotDetached(_)))));
    assert!(matches!(host.disk.as_ref().unwrap().interim, Some(Interim::Trying { .. })));
    // What is half detached is attached anew, and a restart finishes it.
    assert!(!machine.attached());
    let announced = machine.handle(Input::Command(enforce(2, None), host.now()));
    assert!(matches!(announced, Effect::Persist(_)));
    assert!(matches!(machine.handle(Input::Done(Ok(()))), Effect::Attach(_)));
    let refused = machine.handle(Input::Done(Err("the link is down".to_owned())));
    assert!(matches!(refused, Effect::Persist(_)));
    let refused = machine.handle(Input::Done(Ok(())));
    assert!(matches!(refused, Effect::Answer(Err(Refusal::NotAttached(_)))));
    let machine = host.restart();
    assert_eq!((host.kernel, machine.attached()), (None, false));
}
