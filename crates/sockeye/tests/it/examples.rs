//! Examples whose tests are beside them, as a program would have its own.

#[expect(dead_code, reason = "its main function is not called")]
#[path = "../../examples/chat/main.rs"]
mod chat;
#[expect(dead_code, reason = "its main function is not called")]
#[path = "../../examples/feed/main.rs"]
mod feed;
#[expect(dead_code, reason = "its main function is not called")]
#[path = "../../examples/resume/main.rs"]
mod resume;
