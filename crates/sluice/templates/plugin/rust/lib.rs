//! Channel plugin @NAME@: writes each message into a file of a folder, once for each recipient.
//!
//! Change `write` to whatever your channel does with a message. The rest (options, the loop of a worker, what is said about each
//! recipient) is what every channel has.
#![forbid(unsafe_code)]

use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Level, Next, OptionSpec, Options, RunError, Status, Worker,
};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What the channel's option file, `CHANNEL_option`, may say. A doc comment is what the operator reads about an option.
#[derive(Debug, Options)]
struct Settings {
    /// Folder that messages are written into. It must be there. A relative path starts from the folder of the configuration.
    folder: PathBuf,
    /// Longest message, in bytes; a longer one is returned to its sender.
    #[option(default = 10_000_000, range = 1_000..)]
    most: u64,
    /// 1 writes a line into the hub's log for each message.
    verbose: bool,
}

/// The channel. There is one value for each configured channel, and several workers may use it at once.
#[derive(Debug)]
pub struct @TYPE@ {
    settings: Settings,
}

impl Channel for @TYPE@ {
    const NAME: &'static str = "@NAME@";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "writes messages into a folder";
    const OPTIONS: &'static [OptionSpec] = Settings::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        // Do not wait for a network here: no mail moves before this has returned.
        Ok(@TYPE@ { settings: context.options()? })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(Duration::from_secs(60)) {
                Next::Delivery(delivery) => self.deliver(&delivery),
                // A moment to close what is idle, or to ask somebody for mail.
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}

impl @TYPE@ {
    fn deliver(&self, delivery: &Delivery<'_>) {
        // Settling a recipient uses it up. Whoever is not settled is deferred: nothing is lost by forgetting.
        for recipient in delivery.take_recipients() {
            if delivery.body_size() > self.settings.most {
                recipient.failed(Status::new(5, 3, 4), format!("more than {} bytes", self.settings.most));
                continue;
            }
            match self.write(delivery, recipient.index()) {
                // Say "delivered" only when somebody else answers for the message: here it is on the disk.
                Ok(name) => recipient.delivered(format!("written as {name}")),
                // What may pass is deferred: the hub tries again.
                Err(error) => recipient.deferred(Status::new(4, 3, 0), format!("cannot write: {error}")),
            }
        }
        if self.settings.verbose {
            let subject = delivery.header().value("Subject").unwrap_or_default();
            delivery.log(Level::Info, &format!("written: {subject}"));
        }
    }

    /// Writes the message beside its place and moves it there when it is whole, so that nobody sees half of one. The name is
    /// made of the queue id: when a message is tried again after a crash, it replaces itself.
    fn write(&self, delivery: &Delivery<'_>, index: u32) -> io::Result<String> {
        let name = format!("{}-{index}.eml", delivery.id());
        let beside = self.settings.folder.join(format!(".{name}.new"));
        let mut file = File::create(&beside)?;
        // The message is lent in the form of the wire; the reader takes the stuffed dots out.
        delivery.reader().lf_only().copy_to(&mut file)?;
        file.flush()?;
        file.sync_all()?;
        fs::rename(&beside, self.settings.folder.join(&name))?;
        File::open(&self.settings.folder)?.sync_all()?;
        Ok(name)
    }
}

sluice_sdk::export_channel!(@TYPE@);
