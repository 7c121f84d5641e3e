with hits as (
    select
        campaign_id,
        day,
        fullname,
        unnest(matched_keywords) as keyword_norm
    from {{ ref('matched_posts') }}
),

passed as (
    select
        matched.campaign_id,
        matched.day,
        matched.fullname,
        coalesce(scored.status = 'ok', false) as is_candidate,
        -- Not scored yet, waiting, or a candidate that no extraction has seen.
        scored.status is null
        or scored.status <> 'rejected' and coalesce(extractions.status, 'pending') = 'pending' as undecided
    from {{ ref('matched_posts') }} as matched
    left join {{ ref('scored_posts') }} as scored
        on
            scored.campaign_id = matched.campaign_id
            and scored.day = matched.day
            and scored.fullname = matched.fullname
    left join {{ ref('read_posts') }} as extractions
        on
            extractions.campaign_id = matched.campaign_id
            and extractions.day = matched.day
            and extractions.fullname = matched.fullname
    where matched.status = 'ok'
),

extracted as (
    select distinct campaign_id
    from {{ source('lake', 'lead_extractions') }}
),

-- Days on which a match without a lead is known to be none.
read_days as (
    select
        days.campaign_id,
        days.day
    from (select distinct campaign_id, day from {{ ref('matched_posts') }}) as days
    semi join extracted on extracted.campaign_id = days.campaign_id
    anti join passed
        on passed.campaign_id = days.campaign_id and passed.day = days.day and passed.undecided
),

counted as (
    select
        keywords.campaign_id,
        keywords.keyword_norm,
        keywords.active,
        extracted.campaign_id is not null as has_extractions,
        count(distinct hits.fullname) as matches,
        count(distinct passed.fullname) filter (passed.is_candidate) as candidates,
        count(distinct leads.fullname) as leads,
        count(distinct hits.fullname) filter (read_days.day is not null) as matches_read,
        count(distinct leads.fullname) filter (read_days.day is not null) as leads_read
    from {{ source('lake', 'campaign_keywords') }} as keywords
    left join extracted
        on extracted.campaign_id = keywords.campaign_id
    left join hits
        on hits.campaign_id = keywords.campaign_id and hits.keyword_norm = keywords.keyword_norm
    left join passed
        on passed.campaign_id = hits.campaign_id and passed.day = hits.day and passed.fullname = hits.fullname
    left join {{ ref('found_leads') }} as leads
        on leads.campaign_id = hits.campaign_id and leads.day = hits.day and leads.fullname = hits.fullname
    left join read_days
        on read_days.campaign_id = hits.campaign_id and read_days.day = hits.day
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
    case when has_extractions then matches_read end as matches_read,
    case when has_extractions then leads end as leads,
    case when has_extractions then leads_read / nullif(matches_read, 0) end as lead_rate,
    -- Below a hundred matches the rate says little, so nothing is suggested.
    case when has_extractions then matches_read >= 100 and leads_read / matches_read < 0.01 end as suggest_suspend
from counted
order by campaign_id, matches desc, keyword_norm
