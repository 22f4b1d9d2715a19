//! Creating and editing templates.

use super::input::{Tags, TemplateInput};
use super::refusal::Refusal;
use super::state::Panel;
use super::template::Template;

impl Panel {
    pub(crate) fn template(&self, id: u64) -> Result<&Template, Refusal> {
        self.templates.get(&id).ok_or(Refusal::TemplateNotFound)
    }

    /// Creates a template and returns its number; a name is optional to the panel's model, but not to its database.
    pub(crate) fn create_template(&mut self, input: TemplateInput) -> Result<u64, Refusal> {
        let is_taken = |name: &String| self.templates.values().any(|template| template.name == *name);
        let name = input.name.filter(|name| !is_taken(name));
        let name = name.ok_or(Refusal::TemplateExists)?;
        let id = self.templates.keys().next_back().map_or(1, |last| last + 1);
        let template = Template {
            name,
            data_limit: input.data_limit.unwrap_or_default(),
            expire_duration: input.expire_duration.unwrap_or_default(),
            username_prefix: input.username_prefix,
            username_suffix: input.username_suffix,
            inbounds: self.known_tags(input.inbounds),
            id,
        };
        self.templates.insert(id, template);
        Ok(id)
    }

    /// Edits a template; an empty set of inbounds leaves the old one.
    pub(crate) fn modify_template(&mut self, id: u64, input: TemplateInput) -> Result<(), Refusal> {
        let is_taken = |name: &String| {
            let mut others = self.templates.values().filter(|template| template.id != id);
            others.any(|template| template.name == *name)
        };
        if input.name.as_ref().is_some_and(is_taken) {
            return Err(Refusal::TemplateExists);
        }
        let inbounds = self.known_tags(input.inbounds);
        let template = self.templates.get_mut(&id).ok_or(Refusal::TemplateNotFound)?;
        if let Some(name) = input.name {
            template.name = name;
        }
        template.data_limit = input.data_limit.unwrap_or(template.data_limit);
        template.expire_duration = input.expire_duration.unwrap_or(template.expire_duration);
        if input.username_prefix.is_some() {
            template.username_prefix = input.username_prefix;
        }
        if input.username_suffix.is_some() {
            template.username_suffix = input.username_suffix;
        }
        if !inbounds.is_empty() {
            template.inbounds = inbounds;
        }
        Ok(())
    }

    /// Drops tags that no inbound has; the panel does so silently.
    fn known_tags(&self, wanted: Tags) -> Tags {
        let mut known = Tags::new();
        for (protocol, mut tags) in wanted {
            tags.retain(|tag| self.inbounds.has(protocol, tag));
            if !tags.is_empty() {
                known.insert(protocol, tags);
            }
        }
        known
    }
}
