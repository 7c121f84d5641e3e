with hits as (
    select
        campaign_id,
        fullname,
        unnest(matched_keywords) as keyword_norm
    from {{ ref('matched_posts') }}
),

candidates as (
    select
        campaign_id,
        fullname
    from {{ ref('scored_posts') }}
    where status = 'ok'
),

counted as (
    select
        keywords.campaign_id,
        keywords.keyword_norm,
        keywords.active,
        count(distinct hits.fullname) as matches,
        count(distinct candidates.fullname) as candidates,
        null::bigint as leads
    from {{ source('lake', 'campaign_keywords') }} as keywords
    left join hits
        on hits.campaign_id = keywords.campaign_id and hits.keyword_norm = keywords.keyword_norm
    left join candidates
        on candidates.campaign_id = hits.campaign_id and candidates.fullname = hits.fullname
    where keywords.kind = 'include'
    group by all
)

select
    campaign_id,
    keyword_norm,
    active,
    matches,
    candidates,
    candidates / nullif(matches, 0) as candidate_rate,
    leads,
    leads / nullif(matches, 0) as lead_rate,
    -- Below a hundred matches the rate says little, so nothing is suggested.
    case when leads is not null then matches >= 100 and leads / matches < 0.01 end as suggest_suspend
from counted
order by campaign_id, matches desc, keyword_norm
