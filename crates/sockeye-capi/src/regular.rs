//! Files that programs have peers sent.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file, and nothing else: opening a FIFO would wait for somebody to write, and the loop with it. The flag that keeps it
/// from that means nothing to a regular file.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, metadata))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::open;

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("sockeye-capi-regular-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (fifo, file) = (folder.join("fifo"), folder.join("file"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::fs::write(&file, "content").unwrap();
        assert!(open(&fifo).is_err() && open(&folder).is_err() && open("/dev/zero".as_ref()).is_err());
        assert_eq!(open(&file).unwrap().1.len(), 7);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
