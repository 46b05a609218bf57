//! A door without a socket: it uploads a file, is cut off, resumes, publishes and reads back, all
//! of it through the public API of the engine. A door for a protocol does the same with the
//! requests of its clients.
//!
//! `cargo run --example in_memory_door`

use std::error::Error;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::Instant;
use towline_engine::{
    Account, Begun, Completion, Engine, Length, NewUpload, Origin, ReadRequest, Rejection,
    ResumeRequest, SendingMode, UploadHandle, WHOLE_BYTES,
};
use towline_types::{DocumentId, DocumentPath, Name, Offset};

/// Room in memory for the documents of this example.
const CAPACITY_BYTES: u64 = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = block_in_place(|| Engine::open_in_memory(CAPACITY_BYTES, &Handle::current()))?;
    // A door authenticates its users. This one trusts the person who starts it.
    let user = block_in_place(|| engine.add_user("ada").wait())?;
    let account = engine.account(user.user_id, Origin::new("the example"));
    let file: Vec<u8> = (0_u32..800_000).flat_map(u32::to_le_bytes).collect();

    let id = upload_half(&account, &file).await?;
    let completion = upload_rest(&account, id, &file).await?;
    let receipt = &completion.receipt;
    println!("{} is there, durable: {}", receipt.path(), receipt.is_durable());

    let mut content = account.read(ReadRequest::whole(id)).await?;
    let mut read = Vec::new();
    while let Some(piece) = content.next().await? {
        read.extend_from_slice(piece.bytes());
    }
    assert!(read == file, "what is read is what was sent");
    println!("read back {} bytes", read.len());

    drop((account, content));
    engine.shut_down(Instant::now() + Duration::from_secs(5)).await?;
    Ok(())
}

/// Begins an upload, sends half of the file, and is cut off.
async fn upload_half(account: &Account, file: &[u8]) -> Result<DocumentId, Box<dyn Error>> {
    let path = DocumentPath::new(vec![Name::new("letters")?], Name::new("numbers.bin")?)?;
    let length = Length::Declared((file.len() as u64).try_into()?);
    let new = NewUpload::new(path, length, SendingMode::PLAIN);
    let mut upload = match account.begin(new).await? {
        Begun::Uploading(upload) => *upload,
        Begun::Stored(_) | Begun::Unfinished(_) => return Err("the store is empty".into()),
    };
    send(account, &mut upload, &file[..file.len() / 2], 0).await?;
    let position = upload.durable().await?;
    println!("cut off: {} of {} bytes survive a power cut", position.durable.get(), file.len());
    Ok(upload.id())
}

/// Resumes at the first byte that the server lacks, sends the rest, and completes.
async fn upload_rest(
    account: &Account,
    id: DocumentId,
    file: &[u8],
) -> Result<Completion, Box<dyn Error>> {
    let request = ResumeRequest::of(id, SendingMode::PLAIN);
    let mut upload = match account.resume(request).await? {
        Begun::Uploading(upload) => *upload,
        Begun::Stored(completion) => return Ok(completion),
        Begun::Unfinished(_) => return Err("a resume names its upload".into()),
    };
    let start = usize::try_from(upload.offset().get())?;
    println!("resumed at {start}");

    send(account, &mut upload, &file[start..], start).await?;
    Ok(upload.complete(None).await?)
}

/// Sends bytes, a block at a time. A buffer waits for room in the pool, so a fast client waits for
/// a slow disk.
async fn send(
    account: &Account,
    upload: &mut UploadHandle,
    bytes: &[u8],
    start: usize,
) -> Result<(), Rejection> {
    let mut at = start;
    while at < start + bytes.len() {
        // Data of one command lies in one block of the file.
        let length = (WHOLE_BYTES - at % WHOLE_BYTES).min(start + bytes.len() - at);
        let mut block = account.buffer(length).await;
        block.space().copy_from_slice(&bytes[at - start..at - start + length]);
        block.filled(length);
        upload.write(offset(at), block).await?;
        at += length;
    }
    Ok(())
}

fn offset(bytes: usize) -> Offset {
    Offset::ZERO.plus(bytes as u64)
}

#[test]
fn it_runs() {
    main().unwrap();
}
