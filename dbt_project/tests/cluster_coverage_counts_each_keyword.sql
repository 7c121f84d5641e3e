-- Each mapped keyword is counted in exactly one topic, and each topic has its coverage.
{{ config(meta={'dagster': {'ref': {'name': 'cluster_coverage'}}}) }}

with mapped as (
    select
        site_id,
        sector,
        cluster_key,
        count(*) as keywords_count
    from {{ ref('keywords_current') }}
    where state = 'mapped'
    group by all
)

select *
from mapped
full join {{ ref('cluster_coverage') }} as coverage using (site_id, sector, cluster_key)
where
    mapped.keywords_count is distinct from coverage.keywords_count
    or coverage.keywords_count is distinct from coverage.keywords_planned + len(coverage.keywords_open)
