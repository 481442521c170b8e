//! Takes the documentation pages' scripts out of the crates that carry them, and packs them to be embedded.
//! Nothing is downloaded and nothing of them is kept in this repository.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::error::Error;
use std::io::{Cursor, Read, Write};
use std::path::Path;

/// What Swagger UI needs; the rest of its archive is for other ways of embedding it.
const SWAGGER_FILES: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

/// ReDoc shows a logo from its maker's server, which a page that loads nothing from elsewhere can't.
const REMOTE_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let mut archive = zip::ZipArchive::new(Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED))?;
    for wanted in SWAGGER_FILES {
        let ending = format!("/dist/{wanted}");
        let name = archive.file_names().filter_map(Result::ok).find(|name| name.ends_with(&ending));
        let name = name.map(std::borrow::Cow::into_owned);
        let name = name.ok_or_else(|| format!("the archive of Swagger UI has no {wanted}"))?;
        let mut content = Vec::new();
        archive.by_name(&name)?.read_to_end(&mut content)?;
        pack(&out.join(format!("{wanted}.gz")), &content)?;
    }
    let page = aide::redoc::Redoc::new("SPEC-URL").html();
    let script = page.split_once("<script>").and_then(|(_, rest)| rest.split_once("Redoc.init(\"SPEC-URL\""));
    let (script, _) = script.ok_or("the page of ReDoc isn't built as it used to be")?;
    pack(&out.join("redoc.js.gz"), script.trim().replace(REMOTE_LOGO, "data:,").as_bytes())
}

fn pack(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut encoder = GzEncoder::new(std::fs::File::create(path)?, Compression::best());
    encoder.write_all(content)?;
    encoder.finish()?;
    Ok(())
}
