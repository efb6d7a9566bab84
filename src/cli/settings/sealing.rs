//! What an archive says of itself, and how it is compressed.

use super::values::{DEFAULT_FRAME_SIZE, parse_frame_size};
use crate::error::{Error, Kind, Result};
use clap::Args;

/// How to seal.
#[derive(Debug, Args)]
#[command(next_help_heading = "Archive")]
pub(crate) struct SealArguments {
    /// zstd level, from 1 to 19
    #[arg(hide_short_help = true, long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
    /// Snapshot bytes in each independent frame: a multiple of 64KiB up to 16MiB
    ///
    /// Larger frames pack a little better, and take more memory to seal: some frames for each job. To open them takes no
    /// more than others do: frames of more than 4MiB are unpacked by one thread.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = DEFAULT_FRAME_SIZE, value_parser = parse_frame_size)]
    pub(crate) frame_size: u32,
    /// A name for the cluster, in the file name and the public description
    #[arg(long, value_name = "NAME", value_parser = parse_cluster_name)]
    pub(crate) cluster_name: Option<String>,
    /// A tag to record inside the encryption; may be repeated
    #[arg(hide_short_help = true, long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A note to record inside the encryption
    #[arg(hide_short_help = true, long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Leave the public description out of the header
    ///
    /// Without it no reader learns cluster, version, time or size of the snapshot without a key; what counts
    /// archives by cluster leaves such an archive alone.
    #[arg(hide_short_help = true, long)]
    pub(crate) no_description: bool,
}

/// The longest cluster name in bytes: what leaves room for the rest of a description of 2048.
const MAXIMUM_CLUSTER_NAME: usize = 256;

fn parse_cluster_name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=MAXIMUM_CLUSTER_NAME => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes, more than {MAXIMUM_CLUSTER_NAME}")),
    }
}

/// Most bytes of tags and note together: the manifest has 64 KiB, and JSON may need six bytes for one.
const MAXIMUM_TEXTS: usize = 8 * 1024;

impl SealArguments {
    /// Refuses tags and notes that would not fit into the manifest.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn check(&self) -> Result<()> {
        let length: usize = self.tags.iter().chain(&self.note).map(String::len).sum();
        if length > MAXIMUM_TEXTS {
            let message = format!("--tag and --note have {length} bytes together, more than {MAXIMUM_TEXTS}");
            return Err(Error::new(Kind::Usage, message).with_hint("shorten them"));
        }
        Ok(())
    }
}
