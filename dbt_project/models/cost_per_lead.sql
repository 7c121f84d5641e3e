with scoped as (
    select
        day,
        unnest(scope_names) as scope,
        cost_usd
    from {{ ref('counted_calls') }}
),

spent as (
    select
        day,
        substr(scope, length('campaign:') + 1) as campaign_id,
        sum(cost_usd) as spent
    from scoped
    where starts_with(scope, 'campaign:')
    group by all
),

-- When the answer was got that a lead rests on: bought, or found in the journal where another run had bought it.
answered as (
    select
        split_part("partition", '|', 1) as campaign_id,
        row_ref as fullname,
        coalesce(min(day) filter (verdict = 'accepted'), min(day) filter (is_hit)) as day
    from {{ ref('counted_calls') }}
    where asset = 'lead_extractions'
    group by all
),

found as (
    select
        answered.day,
        leads.campaign_id,
        count(distinct leads.fullname) as leads_found
    from {{ ref('found_leads') }} as leads
    inner join answered
        on answered.campaign_id = leads.campaign_id and answered.fullname = leads.fullname
    where answered.day is not null
    group by all
)

select
    coalesce(spent.day, found.day) as day,
    coalesce(spent.campaign_id, found.campaign_id) as campaign_id,
    coalesce(found.leads_found, 0) as leads_found,
    coalesce(spent.spent, 0)::decimal(38, 9) as spent,
    (coalesce(spent.spent, 0) / nullif(found.leads_found, 0))::double as cost_per_lead
from spent
full join found
    on found.day = spent.day and found.campaign_id = spent.campaign_id
order by 1, 2
