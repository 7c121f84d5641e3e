-- How far each video got: the first stage that did not end well decides, or the last one. An analysis of captions that
-- have changed since is none.
{{ config(materialized='ephemeral') }}

{% set fate = ['status', 'reason', 'observed', 'threshold', 'not_before'] %}
with stages as (
    select
        videos.video_id,
        videos.channel_id,
        videos.day,
        videos.title,
        videos.url,
        case
            when videos.status <> 'ok' then 'videos'
            when transcripts.status is distinct from 'ok' then 'transcripts'
            else 'video_analyses'
        end as stage,
        {% for column in fate -%}
        case stage
            when 'videos' then videos.{{ column }}
            when 'transcripts' then transcripts.{{ column }}
            else analyses.{{ column }}
        end as {{ column }},
        {% endfor -%}
        transcripts.caption_source,
        transcripts.word_count,
        analyses.analysis_id,
        analyses.cost_usd
    from {{ ref('known_videos') }} as videos
    left join {{ source('lake', 'transcripts') }} as transcripts
        on
            transcripts.channel_id = videos.channel_id
            and transcripts.day = videos.day
            and transcripts.video_id = videos.video_id
    left join {{ source('lake', 'video_analyses') }} as analyses
        on
            analyses.channel_id = videos.channel_id
            and analyses.day = videos.day
            and analyses.video_id = videos.video_id
            and analyses.transcript_hash = transcripts.transcript_hash
            and analyses.is_active
)

select
    *,
    case
        when status in ('rejected', 'failed') then status
        when stage = 'videos' then 'waiting'
        when stage = 'transcripts' then 'discovered'
        when status = 'ok' then 'analyzed'
        else 'captioned'
    end as state
from stages
