"""Schema: which tables does the store have, and how does an older file become one of today?

A step, once released, never changes; a new table or column is a new step at the end. Documents are JSON in the
platform's own shape; every column beside them is there because a list filters, sorts or shows it.
"""

from __future__ import annotations

VERSION_1 = (
    """
    CREATE TABLE agents (
        agent_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        name_key TEXT NOT NULL,
        voice_id TEXT NOT NULL,
        tags TEXT NOT NULL,
        archived INTEGER NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        version INTEGER NOT NULL
    )
    """,
    "CREATE INDEX agents_by_name ON agents (name_key, agent_id)",
    "CREATE INDEX agents_by_age ON agents (created_at, agent_id)",
    """
    CREATE TABLE agent_versions (
        agent_id TEXT NOT NULL REFERENCES agents ON DELETE CASCADE,
        version INTEGER NOT NULL,
        version_id TEXT NOT NULL UNIQUE,
        created_at REAL NOT NULL,
        description TEXT,
        body TEXT NOT NULL,
        PRIMARY KEY (agent_id, version)
    )
    """,
    """
    CREATE TABLE conversations (
        conversation_id TEXT PRIMARY KEY,
        agent_id TEXT NOT NULL,
        agent_key TEXT NOT NULL,
        source TEXT NOT NULL,
        status TEXT NOT NULL,
        channel TEXT NOT NULL,
        success TEXT,
        user_id TEXT,
        parent_id TEXT,
        ordered_at REAL NOT NULL,
        duration_secs REAL,
        owner TEXT NOT NULL,
        updated_at REAL NOT NULL,
        header TEXT NOT NULL
    )
    """,
    "CREATE INDEX conversations_by_time ON conversations (ordered_at, conversation_id)",
    "CREATE INDEX conversations_by_source ON conversations (source, ordered_at, conversation_id)",
    "CREATE INDEX conversations_by_agent ON conversations (agent_id, source, ordered_at, conversation_id)",
    """
    CREATE INDEX conversations_running ON conversations (owner)
    WHERE status IN ('initiated', 'in-progress', 'processing')
    """,
    """
    CREATE TABLE turns (
        turn_id INTEGER PRIMARY KEY,
        conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
        position INTEGER NOT NULL,
        role TEXT NOT NULL,
        undone_at REAL,
        tool_names TEXT,
        used_model INTEGER NOT NULL,
        cost_usd REAL,
        text_key TEXT NOT NULL,
        body TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX turns_in_order ON turns (conversation_id, position) WHERE undone_at IS NULL",
    "CREATE INDEX turns_undone ON turns (conversation_id, undone_at) WHERE undone_at IS NOT NULL",
    """
    CREATE INDEX turns_with_tools ON turns (conversation_id, tool_names)
    WHERE tool_names IS NOT NULL AND undone_at IS NULL
    """,
    "CREATE INDEX turns_by_text ON turns (conversation_id, text_key) WHERE undone_at IS NULL",
    "CREATE VIEW live_turns AS SELECT * FROM turns WHERE undone_at IS NULL",
    """
    CREATE VIEW running_conversations AS SELECT * FROM conversations
    WHERE status IN ('initiated', 'in-progress', 'processing')
    """,
)

SCHEMA = (VERSION_1,)
