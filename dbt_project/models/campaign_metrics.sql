with matched as (
    select
        campaign_id,
        day,
        count(distinct fullname) as matched,
        count(distinct fullname) filter (kind = 'submission') as n_submissions,
        count(distinct fullname) filter (kind = 'comment') as n_comments,
        count(distinct fullname) filter (status = 'ok') as passed_metadata,
        quantile_cont(observed_age_s, 0.5)::double as freshness_p50_s,
        quantile_cont(observed_age_s, 0.95)::double as freshness_p95_s
    from {{ ref('matched_posts') }}
    group by all
),

candidates as (
    select
        campaign_id,
        day,
        count(distinct fullname) as candidates,
        max(fused) as best_fused,
        median(fused) as median_fused
    from {{ ref('scored_posts') }}
    where status = 'ok'
    group by all
)

select
    matched.campaign_id,
    matched.day,
    matched.matched,
    matched.n_submissions,
    matched.n_comments,
    matched.passed_metadata,
    coalesce(candidates.candidates, 0) as candidates,
    null::bigint as leads_found,
    candidates.best_fused,
    candidates.median_fused,
    matched.freshness_p50_s,
    matched.freshness_p95_s
from matched
left join candidates
    on candidates.campaign_id = matched.campaign_id and candidates.day = matched.day
order by matched.campaign_id, matched.day
