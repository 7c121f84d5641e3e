with versions as (
    select *
    from {{ source('lake', 'video_analyses') }}
    where status = 'ok'
),

pairs as (
    select
        active.video_id,
        active.channel_id,
        active.day,
        active.analysis_id as active_analysis_id,
        other.analysis_id as other_analysis_id,
        active.prompt_label as active_label,
        other.prompt_label as other_label,
        active.model as active_model,
        other.model as other_model,
        active.outlook_direction as active_outlook,
        other.outlook_direction as other_outlook,
        active.cost_usd as active_cost_usd,
        other.cost_usd as other_cost_usd
    from versions as active
    inner join versions as other
        on
            other.channel_id = active.channel_id
            and other.day = active.day
            and other.video_id = active.video_id
            -- Of other captions, another answer is no wonder.
            and other.transcript_hash = active.transcript_hash
            and not other.is_active
    where active.is_active
),

picks as (
    select
        analysis_id,
        symbol,
        list(distinct action order by action) as actions
    from {{ source('lake', 'stock_mentions') }}
    where status = 'ok'
    group by all
),

symbols as (
    select
        pairs.active_analysis_id,
        pairs.other_analysis_id,
        picks.symbol,
        any_value(picks.actions) filter (picks.analysis_id = pairs.active_analysis_id) as active_actions,
        any_value(picks.actions) filter (picks.analysis_id = pairs.other_analysis_id) as other_actions
    from pairs
    inner join picks
        on picks.analysis_id in (pairs.active_analysis_id, pairs.other_analysis_id)
    group by all
),

compared as (
    select
        active_analysis_id,
        other_analysis_id,
        count(*) filter (active_actions = other_actions) as n_same,
        list({'symbol': symbol, 'actions': active_actions} order by symbol) filter (other_actions is null)
            as only_active,
        list({'symbol': symbol, 'actions': other_actions} order by symbol) filter (active_actions is null)
            as only_other,
        list(
            {'symbol': symbol, 'active_actions': active_actions, 'other_actions': other_actions} order by symbol
        ) filter (active_actions <> other_actions) as other_action
    from symbols
    group by all
)

select
    pairs.video_id,
    pairs.channel_id,
    pairs.day,
    pairs.active_analysis_id,
    pairs.other_analysis_id,
    pairs.active_label,
    pairs.other_label,
    pairs.active_model,
    pairs.other_model,
    pairs.active_outlook,
    pairs.other_outlook,
    pairs.active_outlook is not distinct from pairs.other_outlook as same_outlook,
    coalesce(compared.n_same, 0) as n_same,
    coalesce(len(compared.only_active), 0) as n_only_active,
    coalesce(len(compared.only_other), 0) as n_only_other,
    coalesce(len(compared.other_action), 0) as n_other_action,
    coalesce(compared.only_active, []) as only_active,
    coalesce(compared.only_other, []) as only_other,
    coalesce(compared.other_action, []) as other_action,
    pairs.active_cost_usd,
    pairs.other_cost_usd
from pairs
left join compared
    on
        compared.active_analysis_id = pairs.active_analysis_id
        and compared.other_analysis_id = pairs.other_analysis_id
order by pairs.day desc, pairs.channel_id, pairs.video_id, pairs.other_label, pairs.other_analysis_id
