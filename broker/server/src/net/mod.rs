//! Sockets: what is below a request. Frames come in bounded memory, replies leave in order, file slices by sendfile.
//!
//! Invariants: a connection holds only memory that it has charged to the one [`budget::Budget`]; a frame is charged by the
//! bytes received, never by the bytes announced; an idle connection owns no buffer; after the head of a reply has left,
//! any error closes the connection.
//!
//! Not here: what a request means (see `api`), and TLS.
//!
//! Start reading at [`connection`].

pub mod budget;
pub mod buffers;
pub mod connection;
pub mod frame_reader;
pub mod listener;
pub mod reply;
pub mod residency;
