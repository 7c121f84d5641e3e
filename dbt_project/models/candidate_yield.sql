{% set attempt = ['blog', 'day', 'input_id', 'attempt'] %}
with written as (
    select
        {{ attempt | join(', ') }},
        max(n_planned) as planned,
        -- An answer that is no text was asked for again like one that does not hold.
        count(*) filter (status <> 'pending') as texts,
        count(*) filter (status in ('rejected', 'failed')) as regenerated,
        count(*) filter (status = 'pending') as texts_waiting,
        sum(cost_usd) as cost_usd
    from {{ source('lake', 'candidates') }}
    group by all
),

attempts as (
    select
        decisions.blog,
        decisions.day,
        decisions.kind,
        decisions.input_id,
        decisions.status,
        decisions.n_candidates,
        decisions.n_retained,
        decisions.chosen_k,
        decisions.explore,
        decisions.route,
        decisions.chosen_sha256 is not null and decisions.route is not null as is_chosen,
        written.planned,
        written.texts,
        written.regenerated,
        written.texts_waiting,
        written.cost_usd
    from {{ source('lake', 'decisions') }} as decisions
    left join written using ({{ attempt | join(', ') }})
),

counted as (
    select
        blog,
        day,
        kind,
        count(distinct input_id) as inputs,
        count(*) as attempts,
        count(*) filter (status = 'pending') as attempts_waiting,
        coalesce(sum(planned), 0)::bigint as planned,
        coalesce(sum(texts), 0)::bigint as texts,
        coalesce(sum(regenerated), 0)::bigint as regenerated,
        coalesce(sum(texts_waiting), 0)::bigint as texts_waiting,
        sum(n_candidates)::bigint as pool,
        sum(n_retained)::bigint as retained,
        count(*) filter (is_chosen) as chosen,
        count(*) filter (is_chosen and chosen_k is null) as chosen_from_kept,
        count(*) filter (is_chosen and explore) as explored,
        count(*) filter (is_chosen and route in ('publish', 'queue')) as sent_out,
        count(*) filter (is_chosen and route = 'draft') as sent_to_people,
        count(*) filter (is_chosen and route in ('rejected', 'discard')) as turned_down,
        coalesce(sum(cost_usd), 0)::decimal(38, 9) as cost_usd
    from attempts
    group by all
)

select
    blog,
    day,
    kind,
    inputs,
    attempts,
    attempts_waiting,
    planned,
    texts,
    regenerated,
    regenerated / nullif(texts, 0) as regenerated_rate,
    texts_waiting,
    pool,
    retained,
    retained / nullif(pool, 0) as retained_rate,
    chosen,
    chosen_from_kept,
    explored,
    sent_out,
    sent_to_people,
    turned_down,
    cost_usd
from counted
order by blog, day, kind
