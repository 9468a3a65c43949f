//! Proves that the files printed on the institutions' page are files that a node takes.

use witan_home::settings::Settings;
use witan_model::trainable;
use witan_node::jobs::FederatedModel;
use witan_protocol::federation::Federation;

#[test]
fn the_files_on_the_institutions_page_are_read() {
    let page = include_str!("../../docs/INSTITUTIONS.md");
    let mut files = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next());
    let [federation, node] = [(); 2].map(|()| files.next().flatten().unwrap());
    let federation = Federation::from_toml(federation).unwrap();
    let model = FederatedModel::new(trainable::open(None).unwrap(), &federation).unwrap();
    model.check_base(&federation).unwrap();
    let document = federation.document();
    let lora = model.base.lora();
    assert_eq!((&document.lora.targets, document.lora.alpha), (&lora.targets, lora.alpha));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    std::fs::write(&path, node).unwrap();
    assert_eq!(Settings::read(&path).unwrap().threads, 8);
}
