//! The one answer that is waited for where several things must be safe.

use std::sync::Arc;

use parking_lot::Mutex;
use sluice_mail::Refusal;
use sluice_smtpd::Done;

/// Makes one answer of several: the last of them, or the first refusal, when all have come.
pub(super) struct Gather(Mutex<(usize, Result<(), Refusal>, Option<Done>)>);

impl Gather {
    pub(super) fn new(answers: usize, done: Done) -> Arc<Gather> {
        Arc::new(Gather(Mutex::new((answers, Ok(()), Some(done)))))
    }

    pub(super) fn take(&self, answer: Result<(), Refusal>) {
        let mut state = self.0.lock();
        state.0 = state.0.saturating_sub(1);
        if state.1.is_ok() {
            state.1 = answer;
        }
        let done = if state.0 == 0 { state.2.take() } else { None };
        let result = std::mem::replace(&mut state.1, Ok(()));
        if let Some(done) = done {
            drop(state);
            done(result);
        } else {
            state.1 = result;
        }
    }
}
