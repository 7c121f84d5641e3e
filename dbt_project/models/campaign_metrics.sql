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
),

-- Tombstones too: what was paid for a post stays paid after it is deleted.
paid as (
    select
        campaign_id,
        day,
        sum(cost_usd) as cost_usd
    from {{ source('lake', 'lead_extractions') }}
    group by all
),

extractions as (
    select
        campaign_id,
        day,
        count(distinct fullname) filter (status = 'pending') as extractions_pending
    from {{ ref('read_posts') }}
    group by all
),

leads as (
    select
        leads.campaign_id,
        leads.day,
        count(distinct leads.fullname) as leads_found,
        count(distinct leads.fullname) filter (feedback.label is not null) as leads_labelled,
        count(distinct leads.fullname) filter (feedback.label = 'relevant') as leads_relevant
    from {{ ref('found_leads') }} as leads
    left join {{ ref('current_feedback') }} as feedback
        on feedback.campaign_id = leads.campaign_id and feedback.fullname = leads.fullname
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
    extractions.extractions_pending,
    case when extractions.campaign_id is not null then coalesce(leads.leads_found, 0) end as leads_found,
    case when extractions.campaign_id is not null then coalesce(leads.leads_labelled, 0) end as leads_labelled,
    leads.leads_relevant / nullif(leads.leads_labelled, 0) as "precision",
    paid.cost_usd::decimal(38, 9) as cost_usd,
    (paid.cost_usd / nullif(leads.leads_found, 0))::double as cost_per_lead,
    candidates.best_fused,
    candidates.median_fused,
    matched.freshness_p50_s,
    matched.freshness_p95_s
from matched
left join candidates
    on candidates.campaign_id = matched.campaign_id and candidates.day = matched.day
left join paid
    on paid.campaign_id = matched.campaign_id and paid.day = matched.day
left join extractions
    on extractions.campaign_id = matched.campaign_id and extractions.day = matched.day
left join leads
    on leads.campaign_id = matched.campaign_id and leads.day = matched.day
order by matched.campaign_id, matched.day
