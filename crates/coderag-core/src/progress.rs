/// What a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as kB, MB and GB.
    Bytes,
    /// Anything else, named in the task's label.
    Items,
}

/// Receives the progress of long work; the binary draws it, a service may log it.
pub trait Progress: Send + Sync {
    /// Begins a task, such as `embedding tables`. `total` is `None` while the end is not known.
    fn task(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn ProgressTask>;
}

/// One running task. It ends when dropped.
pub trait ProgressTask: Send + Sync {
    /// Adds finished work.
    fn advance(&self, amount: u64);

    /// Says how it goes, such as `loss 0.43`.
    fn describe(&self, _text: &str) {}
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn task(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn ProgressTask> {
        Box::new(Self)
    }
}

impl ProgressTask for Silent {
    fn advance(&self, _amount: u64) {}
}
