use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-pid-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn pid(&self) -> PathBuf {
        self.0.join("pid")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refused(path: &Path) -> &'static str {
    match PidFile::lock(path) {
        Err(PidFileError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_empty_then_has_the_number_and_then_is_gone() {
    let folder = Folder::new();
    let file = PidFile::lock(folder.pid()).unwrap();
    assert_eq!(fs::read(folder.pid()).unwrap(), b"");
    assert!(matches!(PidFile::lock(folder.pid()), Err(PidFileError::Running(None))));
    file.write().unwrap();
    assert_eq!(fs::read_to_string(file.path()).unwrap(), format!("{}\n", std::process::id()));
    assert_eq!(fs::metadata(folder.pid()).unwrap().mode() & 0o7777, 0o644);
    let error = PidFile::lock(folder.pid()).unwrap_err();
    assert_eq!(error.to_string(), format!("already running as pid {}", std::process::id()));
    drop(file);
    assert!(!folder.pid().exists());
}

#[test]
fn what_was_left_behind_is_taken_over_whoever_has_the_number_now() {
    let folder = Folder::new();
    // Process 1 lives, but it does not hold the lock.
    for left in ["1\n", "999999999", "", "  12 \n"] {
        fs::write(folder.pid(), left).unwrap();
        let file = PidFile::lock(folder.pid()).unwrap();
        file.write().unwrap();
        assert_eq!(fs::read_to_string(folder.pid()).unwrap(), format!("{}\n", std::process::id()), "{left:?}");
    }
}

#[test]
fn nothing_else_is_taken_for_it() {
    let folder = Folder::new();
    let precious = folder.0.join("precious");
    fs::write(&precious, "do not lose\n").unwrap();
    assert_eq!(refused(&precious), "it holds something other than a process id");
    fs::write(folder.0.join("bytes"), [0xff, 0xfe]).unwrap();
    assert!(refused(&folder.0.join("bytes")).starts_with("it holds something other"));

    fs::write(folder.0.join("number"), "12\n").unwrap();
    for target in ["number", "precious", "nowhere"] {
        symlink(folder.0.join(target), folder.pid()).unwrap();
        assert_eq!(refused(&folder.pid()), "it is a symbolic link", "{target}");
        fs::remove_file(folder.pid()).unwrap();
    }
    assert!(!folder.0.join("nowhere").exists());
    fs::hard_link(folder.0.join("number"), folder.pid()).unwrap();
    assert_eq!(refused(&folder.pid()), "it has another name too (a hard link)");
    fs::remove_file(folder.pid()).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "do not lose\n");
    assert_eq!(fs::read_to_string(folder.0.join("number")).unwrap(), "12\n");

    fs::create_dir(folder.pid()).unwrap();
    assert_eq!(refused(&folder.pid()), "it is a directory");
    fs::remove_dir(folder.pid()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.pid(), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    assert_eq!(refused(&folder.pid()), "it is not a regular file");
    assert!(matches!(PidFile::lock("/no/such/folder/pid"), Err(PidFileError::System(_))));
}

#[test]
fn only_its_own_file_is_removed() {
    let folder = Folder::new();
    let file = PidFile::lock(folder.pid()).unwrap();
    file.write().unwrap();
    // Somebody removed the file and put another there.
    fs::remove_file(folder.pid()).unwrap();
    fs::write(folder.pid(), "12\n").unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(folder.pid()).unwrap(), "12\n");
}

/// Threads fight for it, and each removes it when it is done. Never do two have it at a time.
#[test]
fn removing_and_locking_do_not_race() {
    const THREADS: usize = 4;
    let folder = Folder::new();
    let (path, holders) = (folder.pid(), AtomicU32::new(0));
    let (start, (sender, locked)) = (Barrier::new(THREADS), mpsc::channel());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                start.wait();
                for _ in 0..500 {
                    match PidFile::lock(&path) {
                        Ok(file) => {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                            file.write().unwrap();
                            holders.fetch_sub(1, Ordering::SeqCst);
                            sender.send(()).unwrap();
                        }
                        Err(PidFileError::Running(_)) => thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    drop(sender);
    assert!(locked.iter().count() > 0);
    assert!(!path.exists());
}
