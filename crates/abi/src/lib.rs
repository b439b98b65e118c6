//! The frozen C contract between Sluice and a channel plugin.
