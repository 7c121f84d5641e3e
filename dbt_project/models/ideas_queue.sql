select
    ideas.idea_id,
    ideas.site_id,
    ideas.day,
    ideas.sector,
    ideas.cluster_key,
    ideas.title,
    ideas.description,
    ideas.content_type,
    ideas.content_structure,
    ideas.primary_keyword,
    ideas.covered_keywords,
    ideas.estimated_word_count,
    ideas.priority,
    clusters.volume as cluster_volume,
    ideas.state,
    -- Of what nobody has to decide any more, an article that waited for a decision is not written yet.
    case
        when ideas.state = 'new' then coalesce(ideas.reason, 'awaiting_approval')
        else nullif(ideas.article_reason, 'awaiting_approval')
    end as reason,
    case when ideas.state = 'new' then ideas.not_before else ideas.article_not_before end as not_before,
    ideas.similar_to,
    ideas.similarity
from {{ ref('known_ideas') }} as ideas
left join {{ ref('clusters_current') }} as clusters using (site_id, sector, cluster_key)
where ideas.state in ('new', 'queued')
order by
    ideas.site_id,
    ideas.state desc,
    list_position(['high', 'medium', 'low'], ideas.priority),
    clusters.volume desc nulls last,
    ideas.day,
    ideas.idea_id
