-- Of a keyword in several batches the first counts; a later one that does not know of it yet is stale.
with known as (
    select *
    from {{ source('lake', 'keywords') }}
    where status = 'ok'
    qualify row_number() over (
        partition by site_id, sector, keyword_norm order by day, source_file, row_no
    ) = 1
),

placed as (
    select
        site_id,
        day,
        sector,
        cluster_key,
        name,
        status,
        reason,
        unnest(keywords) as word
    from {{ source('lake', 'keyword_clusters') }}
)

select
    known.site_id,
    known.sector,
    known.keyword_norm,
    known.keyword,
    known.day,
    known.source_file,
    known.seed,
    coalesce(known.volume_override, known.volume) as volume,
    coalesce(known.difficulty_override, known.difficulty) as difficulty,
    known.intent,
    known.country,
    case when placed.status = 'ok' and placed.cluster_key <> '_unclustered' then 'mapped' else 'new' end as state,
    placed.cluster_key,
    placed.name as cluster_name,
    placed.word.similarity as similarity,
    placed.reason as cluster_reason
from known
left join placed
    on
        placed.site_id = known.site_id
        and placed.day = known.day
        and placed.sector = known.sector
        and placed.word.keyword_norm = known.keyword_norm
order by known.site_id, known.sector, volume desc nulls last, known.keyword_norm
