//! Named places in the jobs where a test can stop a run, for the crate `fail`.
//!
//! There is one right before and one right after each question to the panel and each call of the store, such as
//! `cleanup.before_unlink` and `cleanup.after_unlink`. Without the feature `failpoints` there is no code at any.

macro_rules! failpoints {
    ($($phase:ident . $call:ident),* $(,)?) => {
        /// All of them, in the order in which a run may come by.
        pub const ALL: &[&str] = &[
            $(
                concat!(stringify!($phase), ".before_", stringify!($call)),
                concat!(stringify!($phase), ".after_", stringify!($call)),
            )*
        ];
    };
}

failpoints![
    job_run.verify_schema,
    job_run.lock,
    job_run.begin_run,
    sync.count,
    sync.count_elsewhere,
    sync.page,
    reader.list,
    writer.apply,
    sync.read_conflicts,
    reader.user,
    reader.page_names,
    sync.read_counted,
    job_run.verify_lock,
    sync.read_again,
    push.read,
    push.record,
    push.extend,
    cleanup.count,
    cleanup.past_runs,
    cleanup.page,
    cleanup.page_others,
    cleanup.read_again,
    cleanup.rehearse,
    cleanup.record,
    cleanup.delete,
    cleanup.disable,
    cleanup.unlink,
    stats.read,
    stats.record,
    stats.forget,
    job_run.finish_run,
    job_run.release,
    undo.verify_schema,
    undo.read,
    undo.lock,
    undo.write,
    undo.release,
];

/// Does what is configured for the failpoint of this name.
fn reach(name: &str) {
    fail::fail_point!(name);
}

/// Waits for a call, with a failpoint before it and one after it.
pub(crate) async fn around<F: Future>(before: &str, call: F, after: &str) -> F::Output {
    reach(before);
    let output = call.await;
    reach(after);
    output
}
