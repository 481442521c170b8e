//! The OpenAPI document is the site map, and the pages that show it load nothing from elsewhere.

use crate::server::{Engine, Server};
use std::collections::BTreeSet;
use watchpost_web::site_map::site_map;

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let server = Server::start(Engine::Sqlite);
    let document = server.anonymous().get("/api/schema/").expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            documented.insert(format!("{} {path}", method.to_uppercase()));
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} names two operations");
            assert!(operation["responses"].as_object().is_some_and(|answers| !answers.is_empty()), "{id}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{id}");
        }
    }
    let served: BTreeSet<String> =
        site_map().iter().filter(|r| r.documented).map(|r| format!("{} {}", r.method, r.path)).collect();
    assert_eq!(documented, served);
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is missing");
    }
}

#[test]
fn pages_for_people_load_only_from_here() {
    let server = Server::start(Engine::Sqlite);
    let client = server.anonymous();
    for path in ["/api/docs/", "/swagger/", "/redoc/"] {
        let page = client.get(path);
        assert_eq!(page.status, 200);
        assert!(page.header("content-security-policy").contains("script-src 'self';"));
        let elsewhere = page.text.split(['"', '\'']).find(|part| part.contains("//"));
        assert_eq!(elsewhere, None, "{path}");
        for script in page.text.split("src=\"").skip(1) {
            let file = client.get(script.split('"').next().unwrap());
            assert_eq!((file.status, file.header("content-type")), (200, "text/javascript; charset=utf-8"));
            assert!(!file.text.is_empty());
        }
    }
    assert!(!client.get("/docs-assets/redoc.js").text.contains("cdn.redoc.ly/redoc/logo"));
    let packed = client.with("accept-encoding", "gzip").get("/docs-assets/swagger-ui.css");
    assert_eq!(packed.status, 200);
    assert_eq!(server.anonymous().get("/docs-assets/..%2f..%2fetc").status, 404);
}
