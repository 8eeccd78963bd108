use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

/// Threads that go through a piece of work together, step by step.
///
/// All of them run the same function, divide the tasks of each step among themselves and meet after it.
/// They are woken once for the whole function; between its steps they only look at a shared counter for a
/// moment, which costs far less than waking a thread.
#[derive(Debug)]
pub(super) struct Team {
    shared: Arc<Shared>,
    /// Held while the threads are at work.
    busy: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

/// What a thread of a team knows of it.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    /// From 0; the caller's thread is 0.
    pub(super) index: usize,
    /// How many work together.
    pub(super) count: usize,
    meeting: Option<&'a Meeting>,
}

impl Team {
    /// Starts all threads but one, which is the caller's.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            orders: Mutex::new(Orders { generation: 0, job: None }),
            wake: Condvar::new(),
            generation: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            meeting: Meeting::new(threads),
        });
        let mut team = Self { shared, busy: Mutex::new(()), workers: Vec::new() };
        for index in 1..threads {
            let shared = Arc::clone(&team.shared);
            let worker = thread::Builder::new().name(format!("encoder-{index}"));
            team.workers.push(worker.spawn(move || shared.work(index))?);
        }
        Ok(team)
    }

    pub(super) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `function` on every thread and returns when all are done; on the caller's thread alone while
    /// another caller has the team, so that there are never more threads at work than asked for by much.
    #[allow(unsafe_code)]
    pub(super) fn run(&self, function: &(dyn Fn(Member<'_>) + Sync)) {
        let _busy = match self.busy.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return function(Member::alone()),
        };
        if self.workers.is_empty() {
            return function(Member::alone());
        }
        let shared = &*self.shared;
        shared.meeting.reset();
        shared.running.store(self.workers.len(), Ordering::Relaxed);
        let job: *const (dyn Fn(Member<'_>) + Sync) = function;
        // SAFETY: only the lifetime changes. The workers use the function until `running` is 0, and this
        // function does not return before.
        let job = unsafe { std::mem::transmute::<*const (dyn Fn(Member<'_>) + Sync), Job>(job) };
        {
            let mut orders = shared.orders();
            orders.job = Some(Order(job));
            orders.generation += 1;
            shared.generation.store(orders.generation, Ordering::Release);
        }
        shared.wake.notify_all();
        let member = Member { index: 0, count: self.threads(), meeting: Some(&shared.meeting) };
        let result = catch_unwind(AssertUnwindSafe(|| function(member)));
        if result.is_err() {
            shared.meeting.abandon();
        }
        wait_until(|| shared.running.load(Ordering::Acquire) == 0);
        if let Err(panic) = result {
            resume_unwind(panic);
        }
        if shared.meeting.abandoned() {
            resume_unwind(Box::new("a thread of the encoder panicked"));
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        {
            let mut orders = self.shared.orders();
            orders.job = None;
            orders.generation += 1;
            self.shared.generation.store(orders.generation, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic has been passed on by `run`.
            let _ = worker.join();
        }
    }
}

impl Member<'_> {
    /// A team of one.
    pub(super) fn alone() -> Self {
        Self { index: 0, count: 1, meeting: None }
    }

    /// Runs `task` for every number below `count`, divided among the team, and waits for all of them.
    ///
    /// What the tasks write is seen by all members afterwards.
    pub(super) fn for_each(&self, count: usize, task: impl Fn(usize)) {
        let Some(meeting) = self.meeting else {
            return (0..count).for_each(task);
        };
        loop {
            let next = meeting.next.fetch_add(1, Ordering::Relaxed);
            if next >= count {
                break;
            }
            task(next);
        }
        meeting.wait();
    }
}

/// The share of one of `parts` equal parts of `count`.
pub(super) fn share(count: usize, parts: usize, part: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

type Job = *const (dyn Fn(Member<'_>) + Sync + 'static);

#[derive(Clone, Copy, Debug)]
struct Order(Job);

// SAFETY: the function is `Sync`, and `Team::run` keeps it alive while workers use it.
#[allow(unsafe_code)]
unsafe impl Send for Order {}

#[derive(Debug)]
struct Orders {
    generation: usize,
    /// Nothing: the team is dissolved.
    job: Option<Order>,
}

#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    wake: Condvar,
    /// As in `orders`, to be looked at without the lock.
    generation: AtomicUsize,
    /// How many workers have not finished the job.
    running: AtomicUsize,
    meeting: Meeting,
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life.
    #[allow(unsafe_code)]
    fn work(&self, index: usize) {
        let mut done = 0;
        loop {
            // Calls often follow each other closely.
            for _ in 0..SPINS {
                if self.generation.load(Ordering::Acquire) != done {
                    break;
                }
                std::hint::spin_loop();
            }
            let job = {
                let mut orders = self.orders();
                while orders.generation == done {
                    orders = self.wake.wait(orders).unwrap_or_else(PoisonError::into_inner);
                }
                done = orders.generation;
                orders.job
            };
            let Some(Order(job)) = job else { return };
            let member =
                Member { index, count: self.meeting.members, meeting: Some(&self.meeting) };
            // SAFETY: `Team::run` keeps the function alive until `running` is 0.
            let function = unsafe { &*job };
            if catch_unwind(AssertUnwindSafe(|| function(member))).is_err() {
                self.meeting.abandon();
            }
            self.running.fetch_sub(1, Ordering::Release);
        }
    }
}

/// How often a waiting thread looks before it lets others have the core: some tens of microseconds.
const SPINS: usize = 2000;

fn wait_until(condition: impl Fn() -> bool) {
    let mut spins = 0;
    while !condition() {
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// Where the members of a team wait for each other.
#[derive(Debug)]
struct Meeting {
    members: usize,
    arrived: AtomicUsize,
    /// How often all have met.
    met: AtomicUsize,
    /// The next task of the current step.
    next: AtomicUsize,
    abandoned: AtomicBool,
}

impl Meeting {
    fn new(members: usize) -> Self {
        Self {
            members,
            arrived: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Forgets what an abandoned job left.
    fn reset(&self) {
        self.arrived.store(0, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.abandoned.store(false, Ordering::Relaxed);
    }

    /// Says that a member panicked and will not come.
    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    fn abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn wait(&self) {
        let met = self.met.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            // Nobody takes a task before all have met.
            self.next.store(0, Ordering::Relaxed);
            self.arrived.store(0, Ordering::Relaxed);
            self.met.store(met.wrapping_add(1), Ordering::Release);
        } else {
            wait_until(|| self.met.load(Ordering::Acquire) != met || self.abandoned());
            if self.abandoned() {
                resume_unwind(Box::new("another thread of the encoder panicked"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_task_of_every_step_runs_once_and_steps_do_not_overlap() {
        for threads in 1..5 {
            let team = Team::start(threads).unwrap();
            for count in [0, 1, 7, 100] {
                let first: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
                let second: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
                team.run(&|member| {
                    for step in 1..=20 {
                        member.for_each(count, |task| {
                            first[task].fetch_add(1, Ordering::Relaxed);
                        });
                        member.for_each(count, |task| {
                            let seen: u64 = first.iter().map(|c| c.load(Ordering::Relaxed)).sum();
                            assert_eq!(seen, step * count as u64);
                            second[task].fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
                assert!(first.iter().chain(&second).all(|c| c.load(Ordering::Relaxed) == 20));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_works_on() {
        let team = Team::start(3).unwrap();
        for culprit in 0..3 {
            let run = || {
                team.run(&|member| {
                    member.for_each(10, |_| {});
                    assert!(member.index != culprit, "on purpose");
                    member.for_each(10, |_| {});
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            let done = AtomicUsize::new(0);
            team.run(&|member| member.for_each(10, |_| _ = done.fetch_add(1, Ordering::Relaxed)));
            assert_eq!(done.into_inner(), 10);
        }
    }

    #[test]
    fn a_call_while_the_team_is_busy_runs_alone() {
        let team = Team::start(2).unwrap();
        let counts = Mutex::new(Vec::new());
        team.run(&|member| {
            if member.index == 0 {
                team.run(&|inner| counts.lock().unwrap().push(inner.count));
            }
        });
        assert_eq!(counts.into_inner().unwrap(), [1]);
    }
}
