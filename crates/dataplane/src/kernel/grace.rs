//! [`Grace`]: when no packet is judged any more by what the control word has ceased to name. A thread waits for
//! that in the background and does what was left for then, so that whoever changes something is not held up.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Error;
use crate::kernel::sys;

/// The number of a moment at which the word ceased to name something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Switch(u64);

type Task = Box<dyn FnOnce() + Send>;

/// See the module.
pub(crate) struct Grace(Arc<Shared>);

struct Shared {
    wait: fn() -> io::Result<()>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The latest switch.
    last: Switch,
    /// The latest one that every packet in flight has met.
    passed: Switch,
    /// What is to be done once they have met the latest.
    tasks: Vec<Task>,
    /// How many tasks are not done, those under way included.
    undone: usize,
    /// Somebody waits and works.
    busy: bool,
    failed: Option<io::Error>,
}

impl Grace {
    /// What an earlier agent did, of which nothing is known.
    pub(crate) const EARLIER: Switch = Switch(1);

    /// Nothing has been waited for.
    pub(crate) fn new() -> Self {
        Self::waiting_by(sys::wait_for_packets)
    }

    fn waiting_by(wait: fn() -> io::Result<()>) -> Self {
        let state = State { last: Self::EARLIER, ..State::default() };
        Self(Arc::new(Shared { wait, state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Something has ceased to be named just now.
    pub(crate) fn switched(&self) -> Switch {
        let mut state = self.0.lock();
        state.last.0 += 1;
        let switch = state.last;
        self.0.begin(state);
        switch
    }

    /// The same, and this is to be done when no packet is judged by it any more.
    pub(crate) fn switched_then(&self, task: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.last.0 += 1;
        state.tasks.push(Box::new(task));
        state.undone += 1;
        self.0.begin(state);
    }

    /// Begins to wait for what is not over.
    pub(crate) fn begin(&self) {
        self.0.begin(self.0.lock());
    }

    /// Whether no packet is judged any more by what ceased to be named then.
    pub(crate) fn is_over(&self, switch: Switch) -> bool {
        self.0.lock().passed >= switch
    }

    /// Waits until that is so of all that has ceased to be named.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        let last = self.0.lock().last;
        self.0.wait_until(|state| state.passed >= last)
    }

    /// Waits until all that was to be done is done, and no packet is judged any more by what an earlier agent
    /// left.
    pub(crate) fn wait_for_tasks(&self) -> Result<(), Error> {
        self.0.wait_until(|state| state.undone == 0 && state.passed >= Self::EARLIER)
    }
}

/// A task must not meet what somebody else puts in its place.
impl Drop for Grace {
    fn drop(&mut self) {
        if let Err(error) = self.0.wait_until(|state| state.undone == 0) {
            tracing::warn!(%error, "what is not in force any more is left to the next agent");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where no thread can be had, whoever needs it to be over does the work.
    fn begin(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if !state.busy && state.passed < state.last {
            state.failed = None;
            let shared = Arc::clone(self);
            let name = "grace".to_owned();
            state.busy = thread::Builder::new().name(name).spawn(move || shared.work()).is_ok();
        }
    }

    fn wait_until(&self, is_over: impl Fn(&State) -> bool) -> Result<(), Error> {
        let mut state = self.lock();
        while !is_over(&state) {
            if let Some(error) = state.failed.take() {
                return Err(Error::Grace(error));
            }
            if state.busy {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                state.busy = true;
                drop(state);
                self.work();
                state = self.lock();
            }
        }
        Ok(())
    }

    /// Works until every packet in flight has met the latest switch, or the wait fails.
    fn work(&self) {
        let mut state = self.lock();
        while state.passed < state.last && state.failed.is_none() {
            let (last, tasks) = (state.last, std::mem::take(&mut state.tasks));
            drop(state);
            let waited = (self.wait)();
            state = self.lock();
            match waited {
                Ok(()) => {
                    state.passed = last;
                    self.changed.notify_all();
                    drop(state);
                    let done = tasks.len();
                    tasks.into_iter().for_each(|task| task());
                    state = self.lock();
                    state.undone -= done;
                }
                Err(error) => {
                    state.failed = Some(error);
                    state.tasks.splice(0..0, tasks);
                }
            }
        }
        state.busy = false;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_switch_is_over_without_anybody_waiting_and_tasks_are_done_after_it() {
        let grace = Grace::waiting_by(|| Ok(()));
        assert!(!grace.is_over(Grace::EARLIER));
        let (done, tasks) = mpsc::channel();
        for number in 0..3 {
            let done = done.clone();
            grace.switched_then(move || done.send(number).unwrap());
        }
        assert_eq!([(); 3].map(|()| tasks.recv().unwrap()), [0, 1, 2]);
        assert!(grace.is_over(Grace::EARLIER));
    }

    #[test]
    fn a_wait_counts_only_for_what_came_before_it_began() {
        static BEGUN: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());
        static ALLOWED: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());
        fn set(what: &(Mutex<u32>, Condvar)) {
            *what.0.lock().unwrap() += 1;
            what.1.notify_all();
        }
        fn reach(what: &(Mutex<u32>, Condvar), number: u32) {
            drop(what.1.wait_while(what.0.lock().unwrap(), |at| *at < number).unwrap());
        }
        fn gated() -> io::Result<()> {
            set(&BEGUN);
            let number = *BEGUN.0.lock().unwrap();
            reach(&ALLOWED, number);
            Ok(())
        }
        let grace = Grace::waiting_by(gated);
        let before = grace.switched();
        reach(&BEGUN, 1);
        let during = grace.switched();
        set(&ALLOWED);
        // The second wait begins once what the first one was for is over.
        reach(&BEGUN, 2);
        assert!(grace.is_over(before) && !grace.is_over(during));
        set(&ALLOWED);
        grace.wait().unwrap();
        assert!(grace.is_over(during));
    }

    #[test]
    fn a_wait_that_fails_is_told_and_tried_again() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        fn fails_once() -> io::Result<()> {
            match ASKED.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::ErrorKind::Unsupported.into()),
                _ => Ok(()),
            }
        }
        let grace = Grace::waiting_by(fails_once);
        let (done, tasks) = mpsc::channel();
        grace.switched_then(move || done.send(()).unwrap());
        assert!(matches!(grace.wait_for_tasks(), Err(Error::Grace(_))));
        assert!(tasks.try_recv().is_err());
        grace.wait_for_tasks().unwrap();
        tasks.try_recv().unwrap();
    }

    #[test]
    fn nobody_lets_go_before_the_tasks_are_done() {
        fn slowly() -> io::Result<()> {
            thread::yield_now();
            Ok(())
        }
        for _ in 0..1_000 {
            let grace = Grace::waiting_by(slowly);
            let (done, tasks) = mpsc::channel();
            grace.switched_then(move || done.send(()).unwrap());
            drop(grace);
            tasks.try_recv().unwrap();
        }
    }
}
