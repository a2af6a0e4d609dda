//! All operations, and finding one by any of its names.

use std::collections::HashMap;

use super::operation::Operation;
use super::{
    agent, dead_letter, delivery, embedding, memory, memory_recall, memory_search, memory_transfer,
    memory_write, message, performance, presence, resume, session, subscribe, system,
};

/// The operations, made once for the process.
pub struct Table {
    operations: Vec<Operation>,
    names: HashMap<&'static str, usize, foldhash::fast::FixedState>,
}

impl Default for Table {
    fn default() -> Self {
        let mut operations = Vec::new();
        operations.extend(memory_write::rows());
        operations.extend(memory_search::rows());
        operations.extend(memory_recall::rows());
        operations.extend(memory::rows());
        operations.extend(memory_transfer::rows());
        operations.extend(agent::rows());
        operations.extend(presence::rows());
        operations.extend(system::rows());
        operations.extend(performance::rows());
        operations.extend(embedding::rows());
        operations.extend(session::rows());
        operations.extend(delivery::rows());
        operations.extend(subscribe::rows());
        operations.extend(resume::rows());
        operations.extend(message::rows());
        operations.extend(dead_letter::rows());
        // The names are ours, so no peer can choose them to collide.
        let mut names = HashMap::default();
        for (index, operation) in operations.iter().enumerate() {
            let tool = operation.tool.map(|tool| tool.name);
            for name in std::iter::once(operation.method)
                .chain(tool)
                .chain(operation.aliases.iter().copied())
            {
                let earlier = names.insert(name, index);
                assert!(
                    earlier.is_none_or(|earlier| earlier == index),
                    "{name} names two operations"
                );
            }
        }
        Self { operations, names }
    }
}

impl Table {
    /// The operation of a method name, tool name or alias, with its index.
    pub fn find(&self, name: &str) -> Option<(usize, &Operation)> {
        self.names
            .get(name)
            .map(|&index| (index, &self.operations[index]))
    }

    /// The operation of this index.
    pub fn get(&self, index: usize) -> &Operation {
        &self.operations[index]
    }

    /// All operations, in the order of tool lists.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter()
    }

    /// Method names by index.
    pub fn method_names(&self) -> Vec<&'static str> {
        self.iter().map(|operation| operation.method).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::operations::idempotency::Repeats;

    #[test]
    fn every_name_of_the_specification_finds_its_operation() {
        let table = Table::default();
        for (method, names) in [
            (
                "memory/create",
                &["store_memory", "create_memory", "memory/store"][..],
            ),
            ("memory/search", &["semantic_search", "search_memories"]),
            ("memory/recall", &["recall_memory"]),
            ("memory/get", &["get_memory"]),
            ("memory/update", &["update_memory"]),
            ("memory/delete", &["delete_memory"]),
            ("memory/share", &["share_memory"]),
            ("memory/history", &["memory_history"]),
            ("memory/stats", &["memory_stats", "get_memory_stats"]),
            ("memory/export", &["export_memories"]),
            ("memory/import", &["import_memories"]),
            ("agent/register", &["register_agent"]),
            ("agent/switch", &["switch_agent"]),
            ("agent/info", &["get_current_agent", "get_agent_info"]),
            ("agent/capabilities", &["agent_capabilities"]),
            ("agent/list", &["list_agents"]),
            ("agent/status", &["agent_status"]),
            ("agent/online", &["online_agents"]),
            ("system/health", &["health_check"]),
            (
                "system/stats",
                &["get_system_stats", "get_session_statistics"],
            ),
            ("system/performance", &["system_performance"]),
            ("session/info", &[]),
        ] {
            let (index, operation) = table.find(method).expect(method);
            assert_eq!(operation.method, method);
            for name in names {
                assert_eq!(
                    table.find(name).map(|(found, _)| found),
                    Some(index),
                    "{name}"
                );
            }
        }
        assert!(table.find("memory/creat").is_none());
    }

    #[test]
    fn whatever_changes_something_can_be_repeated_under_a_key() {
        for operation in Table::default().iter() {
            let again = operation.repeats == Repeats::Again;
            assert_eq!(again, operation.read_only, "{}", operation.method);
        }
    }

    #[test]
    fn every_tool_tells_a_model_what_it_does_and_takes() {
        for operation in Table::default().iter() {
            let method = operation.method;
            assert!(
                operation.description.len() > 20,
                "{method} has no description"
            );
            for schema in [(operation.arguments)(), (operation.result)()] {
                assert_eq!(schema.get("type").unwrap(), "object", "{method}");
            }
            let arguments = (operation.arguments)();
            let Some(properties) = arguments.get("properties") else {
                continue;
            };
            for (name, property) in properties.as_object().unwrap() {
                assert!(
                    property.get("description").is_some(),
                    "{method}: {name} has no description"
                );
            }
        }
    }
}
