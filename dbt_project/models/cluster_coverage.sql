{% set key = ['site_id', 'sector', 'cluster_key'] %}
with ideas as (
    select
        {{ key | join(', ') }},
        ideas.state,
        ideas.covered_keywords,
        ideas.primary_keyword,
        case when ideas.state = 'completed' then coalesce(states.state, 'draft') end as article_state
    from {{ ref('known_ideas') }} as ideas
    left join {{ ref('content_states') }} as states
        on states.object_type = 'article' and states.object_id = ideas.idea_id
    where ideas.state <> 'turned_down'
),

counted as (
    select
        {{ key | join(', ') }},
        count(*) filter (state = 'new') as ideas_new,
        count(*) filter (state = 'queued') as ideas_queued,
        count(*) filter (state = 'completed') as articles,
        count(*) filter (article_state in ('approved', 'published')) as articles_approved,
        count(*) filter (article_state = 'published') as articles_published
    from ideas
    group by all
),

aimed_at as (
    select
        {{ key | join(', ') }},
        state,
        unnest(list_append(covered_keywords, primary_keyword)) as keyword_norm
    from ideas
),

-- What an idea covered in words that left the topic since is covered no more.
covered as (
    select
        {{ key | join(', ') }},
        keyword_norm,
        bool_or(state = 'completed') as written
    from aimed_at
    group by all
),

members as (
    select
        words.site_id,
        words.sector,
        words.cluster_key,
        words.keyword_norm,
        words.volume,
        covered.keyword_norm is not null as planned,
        coalesce(covered.written, false) as written
    from {{ ref('keywords_current') }} as words
    left join covered using (site_id, sector, cluster_key, keyword_norm)
    where words.state = 'mapped'
),

reached as (
    select
        {{ key | join(', ') }},
        count(*) filter (planned) as keywords_planned,
        count(*) filter (written) as keywords_written,
        coalesce(sum(volume) filter (written), 0)::bigint as volume_written,
        coalesce(
            list(keyword_norm order by volume desc nulls last, keyword_norm) filter (not planned), []::varchar []
        ) as keywords_open
    from members
    group by all
)

select
    clusters.site_id,
    clusters.sector,
    clusters.cluster_key,
    clusters.name,
    clusters.disabled,
    clusters.keywords_count,
    clusters.volume,
    len(clusters.mapped_pages) as pages,
    coalesce(counted.ideas_new, 0) as ideas_new,
    coalesce(counted.ideas_queued, 0) as ideas_queued,
    coalesce(counted.articles, 0) as articles,
    coalesce(counted.articles_approved, 0) as articles_approved,
    coalesce(counted.articles_published, 0) as articles_published,
    reached.keywords_planned,
    reached.keywords_written,
    reached.keywords_planned / clusters.keywords_count as planned_rate,
    reached.keywords_written / clusters.keywords_count as written_rate,
    reached.volume_written,
    reached.keywords_open
from {{ ref('clusters_current') }} as clusters
inner join reached using ({{ key | join(', ') }})
left join counted using ({{ key | join(', ') }})
order by clusters.site_id, clusters.sector, clusters.volume desc nulls last, clusters.cluster_key
