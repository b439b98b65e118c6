//! The panic fence: author's code runs inside, and a panic comes out as its message and place.
//!
//! # Not here
//! What the host is told about it (`export`).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Inside the fence on this thread?
    static FENCED: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic inside the fence happened.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs author's code; a panic becomes its message and place.
pub(crate) fn fenced<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    // Each plugin has its own copy of the standard library, so the hook is the plugin's own affair.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if FENCED.get() {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                PLACE.set(place);
            } else {
                before(panic);
            }
        }));
    });
    let outer = FENCED.replace(true);
    // The channel may be seen in a half-changed state afterwards; that is its author's to consider, as with a `Mutex`.
    let result = catch_unwind(AssertUnwindSafe(code));
    FENCED.set(outer);
    result.map_err(|payload| {
        let text = message(payload.as_ref());
        // What was thrown may panic again when it is dropped.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        match PLACE.take() {
            place if place.is_empty() => format!("panicked: {text}"),
            place => format!("panicked at {place}: {text}"),
        }
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "something that is not text was thrown".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Evil;

    impl Drop for Evil {
        fn drop(&mut self) {
            panic!("thrown again");
        }
    }

    #[test]
    fn whatever_is_thrown_is_caught_and_told() {
        let place = "crates/sdk/src/fence.rs:";
        let text = fenced(|| panic!("a {}", "panic")).unwrap_err();
        assert!(
            text.starts_with("panicked at ") && text.contains(place) && text.ends_with(": a panic"),
            "{text}"
        );
        let text = fenced(|| std::panic::panic_any(7)).unwrap_err();
        assert!(text.ends_with("something that is not text was thrown"), "{text}");
        let text = fenced(|| std::panic::panic_any(Evil)).unwrap_err();
        assert!(text.contains("something that is not text was thrown"), "{text}");
        assert_eq!(fenced(|| 7), Ok(7));
    }
}
